"""Print inventory updates from a point of the stream on: consumer.py [first|last|next]."""

import os
import sys
import time

import stocklog

WAITS = {
    "first": "everything from the start of the log, then each new update",
    "last": "exactly the last update, then each new one",
    "next": "each new update from now on",
}


def say(text: str) -> None:
    """Tell the user something that is no result."""
    print(text, file=sys.stderr, flush=True)


def main(offset: str) -> None:
    """Print each update that comes; everything else goes to stderr."""
    begun, seen, invalid = time.perf_counter(), 0, 0
    try:
        with stocklog.connect(start_broker=True, say=say) as client:
            say(f"broker: {client.broker}")
            consumer = client.consumer("inventory_updates", offset=offset)
            say(f"reading inventory_updates from {offset}: {WAITS[offset]}; Ctrl-C ends")
            for batch in consumer:
                sys.stdout.write(batch.to_text())
                sys.stdout.flush()
                seen, invalid = seen + len(batch), invalid + len(batch.invalid)
    finally:
        seconds = time.perf_counter() - begun
        say(f"{seen:,} updates read in {seconds:.1f} s; {invalid:,} messages were no updates")


if __name__ == "__main__":
    words = sys.argv[1:] or ["next"]
    if len(words) > 1 or words[0] not in WAITS:
        say("usage: consumer.py [first|last|next]")
        sys.exit(2)
    try:
        main(words[0])
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except stocklog.StocklogError as error:
        sys.exit(f"error: {error}")
