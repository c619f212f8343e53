"""Intake for a server: what arrives while one unit is being written becomes the next, and is answered when it is durable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from tailorbird.core.context import SECOND, Clock
from tailorbird.errors import TailorbirdError, Unavailable
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.holding import PATIENT
from tailorbird.runtime.ingest import Incoming, Receipt
from tailorbird.runtime.loop import Loop
from tailorbird.runtime.turns import Group, Turn

__all__ = ["Intake"]

_AHEAD: Final = 2
"""How many turns may be on their way: one that is written and one that waits for it."""

_GLANCE: Final = 200
"""How often an idle server looks whether another process wrote, in ms."""


class _Request:
    """Events that came together and are answered together."""

    __slots__ = ("batch", "future", "receipts", "tries")

    def __init__(self, batch: Sequence[Incoming | Draft], future: asyncio.Future[list[Receipt]]) -> None:
        self.batch = batch
        self.future = future
        self.receipts: list[Receipt] = []
        self.tries = 0


class _Flight:
    """A turn on its way to the store, and whose events it holds: (request, how many)."""

    __slots__ = ("future", "owners", "turn")

    def __init__(self, turn: Turn, owners: list[tuple[_Request, int]], future: asyncio.Future[bool]) -> None:
        self.turn = turn
        self.owners = owners
        self.future = future


class Intake:
    """Collects events from many requests into few commits. Belongs to one event loop; ``take`` is called there.

    While a thread writes one turn the next is computed, so that the processor and the disk work at the same time. More than
    ``queue_limit`` waiting events are refused with ``Unavailable``: slower clients beat a queue that only grows.
    """

    def __init__(self, loop: Loop, clock: Clock, *, queue_limit: int = 20_000, unit_limit: int = 2_000, eager: int = 64) -> None:
        self._loop = loop
        self._clock = clock
        self._queue_limit = queue_limit
        self._unit_limit = unit_limit
        self._eager = eager
        self._waiting: deque[_Request] = deque()
        self._queued = 0
        self._flights: deque[_Flight] = deque()
        self._group: Group | None = None
        self._owners: deque[tuple[_Request, int]] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._looked = 0
        self._glanced = 0.0

    @property
    def queued(self) -> int:
        """How many events wait for their turn."""
        return self._queued

    async def start(self) -> None:
        """Begin to work."""
        self._kick = asyncio.Event()
        self._pump = asyncio.create_task(self._run(), name="intake")

    async def stop(self) -> None:
        """Answer what waits, then end."""
        self._closing = True
        if self._pump is not None:
            self._kick.set()
            await self._pump
        self._writer.shutdown(wait=True)

    async def take(self, batch: Sequence[Incoming | Draft]) -> list[Receipt]:
        """Take events in; return a receipt for each, once they are durable. Raises ``Unavailable``."""
        if not batch:
            return []
        if self._closing or self._pump is None:
            raise Unavailable("the server is stopping.", hint="Send the events again.")
        if self._queued + len(batch) > self._queue_limit and self._queued:
            raise Unavailable(f"busy: {self._queued} events are waiting already.", hint="Send the events again in a second.")
        future: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(batch, future))
        self._queued += len(batch)
        if not self._flights or self._queued >= self._eager:
            self._kick.set()
        return await future

    # ---- inside

    async def _run(self) -> None:
        while not (self._closing and self._is_idle()):
            try:
                if self._group is None and not self._waiting:
                    # Nothing comes in any more once we are closing: then only what is on its way is waited for.
                    await (self._land() if self._closing else self._sleep())
                await self._step()
            except Exception as error:
                await self._fail(error)
            finally:
                self._loop.fair.set()
        await self._land()
        self._loop.fair.set()

    def _is_idle(self) -> bool:
        return not self._waiting and self._group is None and not self._flights

    async def _sleep(self) -> None:
        """Wait for events, for the turn on its way, or for the next timer."""
        self._kick.clear()
        delay = min(max(self._loop.next_due - self._clock.now(), 0), _GLANCE) / 1000
        if self._flights:
            self._flights[0].future.add_done_callback(self._wake)
        alarm = asyncio.get_running_loop().call_later(delay, self._kick.set)
        await self._kick.wait()
        alarm.cancel()

    def _wake(self, _: object) -> None:
        self._kick.set()

    async def _step(self) -> None:
        while self._flights and (self._flights[0].future.done() or len(self._flights) >= _AHEAD):
            await self._finish()
        loop = self._loop
        if loop.stale:
            await self._recover()
        if self._group is None and self._waiting:
            if self._waiting[0].tries >= PATIENT:
                await self._insist()
                return
            await self._assemble()
        if self._group is not None:
            await self._compute(self._group)
        elif not loop.stale and not self._flights:
            await self._idle()

    async def _idle(self) -> None:
        """Wake whoever has to wake; and see now and then whether another process wrote, or left timers behind."""
        loop, now = self._loop, self._clock.now()
        await self._see_others()
        due: int | None = None
        if now >= self._looked + SECOND:
            self._looked = now
            due = await asyncio.get_running_loop().run_in_executor(self._writer, loop.store.next_due)
        async with self._locked():
            loop.timers.look(due)
            if loop.next_due <= now:
                self._send(loop.wake(now), [])

    async def _see_others(self) -> None:
        """Read anew what another process changed, so that what is answered out of memory does not stay as it was."""
        clock = asyncio.get_running_loop()
        if clock.time() < self._glanced:
            return
        self._glanced = clock.time() + _GLANCE / 1000
        if await clock.run_in_executor(self._writer, self._loop.store.others_wrote):
            began = clock.time()
            async with self._locked():
                self._loop.land()
                self._loop.refresh()
            # With a neighbour who writes all the time no more than a fifth of ours goes into reading anew.
            self._glanced = clock.time() + max(_GLANCE / 1000, 4 * (clock.time() - began))

    async def _insist(self) -> None:
        """Take in what lost to other processes again and again, while those are kept from writing."""
        await self._land()
        batch = self._collect()
        taking = partial(self._loop.take, batch, self._clock.now(), insist=True)
        owners = list(self._owners)
        self._owners.clear()
        try:
            receipts = await asyncio.get_running_loop().run_in_executor(self._writer, taking)
        except Exception as error:
            _refuse([request for request, _ in owners], error)
        else:
            _answer(owners, receipts)

    async def _recover(self) -> None:
        await self._land()
        try:
            async with self._locked():
                self._loop.land()
                self._loop.recover()
        except Exception as error:  # the store does not answer: nobody is left waiting for it
            _refuse(list(self._waiting), error)
            self._waiting.clear()
            self._queued = 0
            raise

    async def _assemble(self) -> None:
        """Make the next group out of what waits."""
        events = self._collect()
        async with self._locked():
            self._group = self._loop.prepare(events, self._clock.now())

    def _collect(self) -> list[Incoming | Draft]:
        """Return the next events of those that wait, and note whose they are."""
        events: list[Incoming | Draft] = []
        while self._waiting and (not events or len(events) + len(self._waiting[0].batch) <= self._unit_limit):
            request = self._waiting.popleft()
            rest = request.batch[len(request.receipts) :]
            self._queued -= len(rest)
            events += rest
            self._owners.append((request, len(rest)))
        return events

    async def _compute(self, group: Group) -> None:
        """Compute the group's next turn and send it off."""
        async with self._locked():
            if self._loop.stale:
                return
            turn = self._loop.turn(group)
            self._send(turn, self._own(len(turn.receipts)))
        if group.done:
            self._group = None
        elif not turn:
            await self._land()  # it needs what is on its way

    def _own(self, count: int) -> list[tuple[_Request, int]]:
        """Return whose the next events of the group are."""
        owners: list[tuple[_Request, int]] = []
        while count:
            request, size = self._owners.popleft()
            owners.append((request, min(size, count)))
            if size > count:
                self._owners.appendleft((request, size - count))
            count -= min(size, count)
        return owners

    def _send(self, turn: Turn, owners: list[tuple[_Request, int]]) -> None:
        future = self._writer.submit(self._loop.send, turn)
        self._loop.flights.append((turn, future))
        self._flights.append(_Flight(turn, owners, asyncio.wrap_future(future)))

    async def _finish(self) -> None:
        """Wait for the oldest turn on its way and answer those whose events it held."""
        flight = self._flights[0]
        error: Exception | None = None
        written = False
        try:
            written = await flight.future
        except Exception as raised:
            error = raised
        async with self._locked():
            self._loop.settle(flight.turn, written)
        self._flights.popleft()
        if written:
            _answer(flight.owners, flight.turn.receipts)
            return
        requests = [request for request, _ in flight.owners]
        if error is not None:
            _refuse(requests, error)
        self._take_back(requests)

    def _take_back(self, requests: list[_Request]) -> None:
        """Put requests, and those of the group under way, in front of what waits: all of it has to be computed again."""
        again = [*requests, *(request for request, _ in self._owners)]
        self._owners.clear()
        self._group = None
        for request in reversed(list(dict.fromkeys(again))):
            request.tries += 1
            if not request.future.done() and (not self._waiting or self._waiting[0] is not request):
                self._waiting.appendleft(request)
                self._queued += len(request.batch) - len(request.receipts)

    async def _land(self) -> None:
        while self._flights:
            await self._finish()

    async def _fail(self, error: Exception) -> None:
        """After a defect: nothing that is in memory can be trusted; those who wait are told."""
        self._loop.stale = True
        _refuse([request for request, _ in self._owners], error)
        self._owners.clear()
        self._group = None
        await self._land()
        await asyncio.sleep(0.05)  # a store that is gone must not make us spin

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Hold the loop's lock without ever making the event loop wait for it."""
        loop, lock = self._loop, self._loop.lock
        if loop.waiting and loop.fair.is_set():
            await asyncio.sleep(0.001)  # one of those who wait goes first, the others after us
        while not lock.acquire(blocking=False):
            loop.fair.clear()
            await asyncio.sleep(0.0005)
        try:
            yield
        finally:
            lock.release()


def _answer(owners: Sequence[tuple[_Request, int]], receipts: Sequence[Receipt]) -> None:
    start = 0
    for request, count in owners:
        request.receipts += receipts[start : start + count]
        start += count
        if len(request.receipts) == len(request.batch) and not request.future.done():
            request.future.set_result(request.receipts)


def _refuse(requests: Sequence[_Request], error: Exception) -> None:
    told = error if isinstance(error, TailorbirdError) else Unavailable("the events could not be stored.", hint="Try again.")
    if told is not error:
        told.__cause__ = error  # for the log
    for request in requests:
        if not request.future.done():
            request.future.set_exception(told)
