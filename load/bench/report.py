"""Tables of the benchmark's figures, in Markdown."""
from served import MIX, SERVERS, of_the_mix

FIGURES = ("warm CPU, µs", "p50, µs", "p99, µs", "init + first, ms", "init + first, TLS, ms", "peak RSS, MB", "zip, MB")
# CPU of the yardstick, in µs, on the machine for which the budgets of warm invocations were set.
YARDSTICK = {"hit": 35, "miss": 191}

HASHING = ("register", "login")


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def table(functions):
    """All figures of each scenario."""
    lines = ["| | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, figures in functions.items():
        lines.append(f"| {name} | " + " | ".join(number(figures.get(figure)) for figure in FIGURES) + " |")
    return "\n".join(lines)


def against_fastapi(served):
    """The local system beside FastAPI: µs of CPU a request, and how many times fewer they are."""
    rows = {name: [served[f"{name} from {server}"] for server in SERVERS] for name in MIX}
    rows["the mix (" + " : ".join(map(str, MIX.values())) + ")"] = [of_the_mix(served, server) for server in SERVERS]
    lines = ["| µs of CPU a request | " + " | ".join(SERVERS) + " | |", "|---" * (len(SERVERS) + 2) + "|"]
    for name, (ours, *theirs) in rows.items():
        times = " and ".join(f"{figure / ours:.1f}" for figure in theirs)
        lines.append(f"| {name} | {number(ours)} | " + " | ".join(map(number, theirs)) + f" | {times} times fewer |")
    return "\n".join(lines)


def budgets(functions):
    """The figures that have a budget; those of warm invocations also with what it is worth on this machine."""
    rows = []
    for kind, budget in (("hit", 32), ("miss", 160)):
        if f"get-user, {kind}" in functions:
            yardstick = functions[f"yardstick, {kind}"]["warm CPU, µs"]
            rows.append((f"get-user, {kind}: CPU an invocation", functions[f"get-user, {kind}"]["warm CPU, µs"], budget,
                         budget * yardstick / YARDSTICK[kind], "µs"))
            rows.append((f"yardstick, {kind}: CPU an invocation", yardstick, YARDSTICK[kind], yardstick, "µs"))
            ratio, wanted = functions[f"get-user, {kind}"]["beside the yardstick"], budget / YARDSTICK[kind]
            rows.append((f"get-user, {kind}, by turns with the yardstick: median of the blocks", ratio, wanted, wanted, "×"))
    deployed = {name: figures for name, figures in functions.items() if not name.startswith("yardstick")}
    if "get-user, hit" in deployed:
        first = deployed["get-user, hit"]["init + first, TLS, ms"]
        rows.append(("get-user: CPU of init + first invocation, TLS", first, 6, 6, "ms"))
    for what, figure, budget in (("zip", "zip, MB", 3.5), ("peak RSS", "peak RSS, MB", 10)):
        # Hashing a password takes 19 MiB on purpose: not what is to be small.
        small = {name: of_one[figure] for name, of_one in deployed.items() if figure == "zip, MB" or name not in HASHING}
        if "get-user, hit" in small:
            rows.append((f"{what}, get-user", small["get-user, hit"], budget, budget, "MB"))
        if small:
            name = max(small, key=small.get)
            rows.append((f"{what}, the largest ({name})", small[name], budget, budget, "MB"))
    lines = ["| figure | measured | budget | budget here | |", "|---|---|---|---|---|"]
    lines += [f"| {what} | {number(measured)} {unit} | {number(budget)} {unit} | {number(here)} {unit} | {'over' if measured > here else ''} |"
              for what, measured, budget, here, unit in rows]
    return "\n".join(lines)


def comparison(two):
    """Two sets of figures side by side, with the second's change."""
    (a, before), (b, after) = two.items()
    lines = [f"| scenario | figure | {a} | {b} | change |", "|---|---|---|---|---|"]
    for name in before:
        for figure in FIGURES:
            old, new = before[name].get(figure), after.get(name, {}).get(figure)
            if old and new:
                lines.append(f"| {name} | {figure} | {number(old)} | {number(new)} | {new / old - 1:+.1%} |")
    return "\n".join(lines)
