"""Publish 100,000 simulated inventory updates and wait until every one is confirmed."""

import sys
import time

import stocklog
from stocklog.inventory.simulate import Simulator

UPDATES = 100_000
BATCH = 10_000


def say(text: str) -> None:
    """Tell the user something that is no result."""
    print(text, file=sys.stderr)


def main() -> None:
    """Send the updates; everything but the result goes to stderr."""
    with stocklog.connect(start_broker=True, say=say) as client:
        say(f"broker: {client.broker}")
        simulator = Simulator()
        begun = time.perf_counter()
        with client.producer("inventory_updates") as producer:
            for _ in range(UPDATES // BATCH):
                producer.send(simulator.batch(BATCH))
            producer.flush()  # returns once the broker has confirmed everything
            seconds = time.perf_counter() - begun
            print(
                f"{producer.confirmed:,} updates sent and confirmed in {seconds:.2f} s "
                f"({producer.confirmed / seconds:,.0f} a second)"
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except stocklog.StocklogError as error:
        sys.exit(f"error: {error}")
