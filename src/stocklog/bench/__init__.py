"""What it costs, beside the peers and the bare wire, on the user's own machine.

`intake`, `replay`, `slow_reader`, `latency` and `scale` are the measurements;
`runner` interleaves contenders and takes medians; `report` writes what came out.
Each run of a contender is a process of its own (`worker`). The peers (rstream,
pika) and the pictures need the extra `stocklog[bench]`.
"""
