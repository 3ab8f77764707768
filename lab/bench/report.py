"""Tables of the benchmark's figures, in Markdown."""
FIGURES = ("warm CPU, µs", "p50, µs", "p99, µs", "init + first, ms", "init + first, TLS, ms", "peak RSS, MB", "zip, MB")


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


def held(functions, at_most=None):
    """What get-user is held to, as a table, and the names of what is over: its CPU by turns with the yardstick if that is to be `at_most` so much
    (docs/performance.md: 0.70 trained, 0.95 untrained); otherwise its zip and its peak memory."""
    rows = []
    for kind in ("hit", "miss"):
        if ratio := functions.get(f"get-user, {kind}", {}).get("beside the yardstick"):
            rows.append((f"{kind}, by turns with the yardstick: median of the blocks", ratio, at_most, "×"))
    if figures := functions.get("get-user, hit"):
        sizes = (None, None) if at_most else (3.5, 10)
        rows += [("zip", figures["zip, MB"], sizes[0], "MB"), ("peak RSS", figures["peak RSS, MB"], sizes[1], "MB")]
    over = [what for what, measured, limit, _ in rows if limit and measured > limit]
    lines = ["| get-user | measured | at most | |", "|---|---|---|---|"]
    lines += [f"| {what} | {number(measured)} {unit} | {f'{number(limit)} {unit}' if limit else ''} | {'over' if what in over else ''} |"
              for what, measured, limit, unit in rows]
    return "\n".join(lines), over


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
