"""A stand-in for an OpenAI-compatible endpoint: answers in order what it was told, in the wire form of the real ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

PATH = "/v1/chat/completions"
Step = Response | Callable[[Request], Response]


def completion(content: str | None, *, finish: str = "stop", refusal: str | None = None, tokens: int = 42) -> Response:
    """A chat completion as OpenAI and Azure answer it."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mini-2026-01-01", "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens - 2, "completion_tokens": 2, "total_tokens": tokens},
    }  # fmt: skip
    return Response(json.dumps(body), 200, content_type="application/json")


def answering(value: Any) -> Response:
    """A completion whose content is JSON."""
    return completion(json.dumps(value))


def failing(status: int, code: str | None = None, *, headers: dict[str, str] | None = None, message: str = "no") -> Response:
    """An error as OpenAI answers it; its message may quote the key or the prompt."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Response(json.dumps({"error": error}), status, headers, content_type="application/json")


def late(seconds: float) -> Callable[[Request], Response]:
    """An answer that takes its time."""

    def handle(_: Request) -> Response:
        time.sleep(seconds)
        return answering({"text": "late"})

    return handle


@dataclass
class ModelServer:
    """Serves steps in order, the last one for ever, and keeps what it was asked."""

    server: HTTPServer
    steps: list[Step] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request(PATH, method="POST").respond_with_handler(self._handle)

    @property
    def base(self) -> str:
        return self.server.url_for("/v1")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.get_data()) for request in self.requests]

    def _handle(self, request: Request) -> Response:
        request.get_data()
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return step(request) if callable(step) and not isinstance(step, Response) else step
