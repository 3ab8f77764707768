#!/usr/bin/env python3
"""How creations of one organization fare by how its room is counted: a model, seconds long, no AWS.

Creations arrive as a Poisson process. A transaction holds its records for a while (50 % of holds are under 10 ms, 99 % under 60), and
what meets a held record is refused at once; latencies are those measured from Lambda by alexdebrie/dynamodb-performance-testing
(2020). Usage: lab/slices.py [creations a second]  ->  the table of docs/decisions/0085-room-is-leased-in-slices.md"""
import heapq, math, random, sys

RATE = float(sys.argv[1]) if len(sys.argv) > 1 else 1250
SECONDS = 40


def lognormal(p50, p99):
    return random.lognormvariate(math.log(p50), math.log(p99 / p50) / 2.326)


def transaction(lanes, tries, slice_size):
    """One counter in each creation's transaction: `lanes` records of it, and a root that each `slice_size`th creation leases from."""
    held = {}
    outcomes, queue = [], []
    at = 0.0
    while at < SECONDS * 1000:
        at += random.expovariate(RATE) * 1000
        heapq.heappush(queue, (at, at, 0))
    met = 0
    while queue:
        now, began, attempt = heapq.heappop(queue)
        wanted = [("lane", random.randrange(lanes))]
        if lanes > 1 and random.random() < 1 / slice_size:
            wanted.append(("root", 0))
        took = lognormal(25, 93)
        if any(held.get(record, 0) > now for record in wanted):
            met += 1
            attempt += 1
            if attempt == tries:
                outcomes.append((now + took - began, False))
                continue
            waits = attempt - 1 if lanes == 1 else max(0, attempt - 3)
            pause = random.uniform(0, 10 * 2 ** min(waits, 5)) if lanes == 1 or attempt > 2 else 0
            heapq.heappush(queue, (now + took + pause, began, attempt))
            continue
        hold = lognormal(10, 60)
        for record in wanted:
            held[record] = now + hold
        outcomes.append((now + max(took, hold) - began, True))
    return outcomes, met


def plain(lanes):
    """A conditional update of one of `lanes` records, each with a mark, and then the put of the item; updates of one record queue."""
    free_at = [0.0] * lanes
    outcomes, at = [], 0.0
    while at < SECONDS * 1000:
        at += random.expovariate(RATE) * 1000
        lane = random.randrange(lanes)
        start = max(at, free_at[lane])
        free_at[lane] = start + 1  # 1,000 units a second
        outcomes.append((start - at + lognormal(7.6, 16) + lognormal(7.6, 16), True))
    return outcomes, 0


def row(name, units, result):
    outcomes, met = result
    times = sorted(time for time, done in outcomes if done)
    lost = sum(not done for _, done in outcomes) / len(outcomes)
    at = lambda share: times[int(len(times) * share)]
    print(f"| {name} | {units} | {lost:.2%} | {met / len(outcomes):.2f} | {at(.5):.0f} | {at(.96):.0f} | {at(.99):.0f} |", flush=True)


random.seed(20)
print(f"{RATE:.0f} creations a second, {SECONDS} s\n")
print("| design | write units | `503` | met per creation | p50 ms | p96 ms | p99 ms |\n|---|---|---|---|---|---|---|")
row("one record in each transaction (before)", 4, transaction(1, 8, 1))
for lanes in (16, 64, 128, 240):
    row(f"{lanes} lanes in the transaction", 4, transaction(lanes, 16, 1000))
row("240 lanes, plain update with a mark, then put", "3–4", plain(240))
