"""Made-up orders in the shape of the CDNOW data set: first bought early in 1997, followed to the middle of 1998."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random

__all__ = ["write_orders"]

FIRST, LAST = date(1997, 1, 1), date(1998, 6, 30)


def write_orders(path: Path, customers: int = 700) -> Path:
    """Write ``customer_id,date,quantity,amount``, the same for every run: some 2,300 orders, few customers with most of them.

    Ids begin with noughts, customers may order twice a day, and an order may cost nothing: as in the real file.
    """
    chance = Random(1997)
    lines = ["customer_id,date,quantity,amount"]
    for number in range(1, customers + 1):
        day = FIRST + timedelta(days=chance.randrange(90))
        again = chance.choice((0.0, 0.0, 0.3, 0.7, 0.93))
        while day <= LAST:
            discs = min(1 + int(chance.expovariate(0.6)), 40)
            amount = 0.0 if chance.random() < 0.01 else round(discs * chance.uniform(6, 20), 2)
            lines.append(f"{number:05},{day},{discs},{amount:.2f}")
            if chance.random() >= again:
                break
            day += timedelta(days=int(chance.expovariate(1 / 45)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
