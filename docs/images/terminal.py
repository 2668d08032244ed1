#!/usr/bin/env python3
"""Makes an HTML page of what `tmux capture-pane -p -e` prints, to be photographed by a browser."""
import html
import re
import sys

GROUND, TEXT = "#14161b", "#c9ced6"
COLOURS = ["#14161b", "#f0646c", "#8fc379", "#e2b55f", "#6aa3e8", "#c583d8", "#56b8c4", "#c9ced6",
           "#5c6370", "#ff7f87", "#a5d98f", "#f5ca7a", "#86b9f7", "#d99cea", "#72d3de", "#ffffff"]


def indexed(number):
    if number < 16:
        return COLOURS[number]
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return "#%02x%02x%02x" % (grey, grey, grey)
    number -= 16
    levels = [0, 95, 135, 175, 215, 255]
    return "#%02x%02x%02x" % tuple(levels[number // base % 6] for base in (36, 6, 1))


def style(state):
    fore, back = state.get("fg", TEXT), state.get("bg", GROUND)
    if state.get("reverse"):
        fore, back = back, fore
    rules = ["color:" + fore]
    if back != GROUND:
        rules.append("background:" + back)
    if state.get("bold"):
        rules.append("font-weight:bold")
    if state.get("dim"):
        rules.append("opacity:.62")
    if state.get("underline"):
        rules.append("text-decoration:underline")
    return ";".join(rules)


def apply(state, codes):
    codes = [int(code or 0) for code in codes]
    while codes:
        code = codes.pop(0)
        if code == 0:
            state.clear()
        elif code in (1, 2, 4, 7):
            state[{1: "bold", 2: "dim", 4: "underline", 7: "reverse"}[code]] = True
        elif code == 22:
            state.pop("bold", None), state.pop("dim", None)
        elif code == 24:
            state.pop("underline", None)
        elif code == 27:
            state.pop("reverse", None)
        elif code in (38, 48):
            codes.pop(0)
            state["fg" if code == 38 else "bg"] = indexed(codes.pop(0))
        elif code in (39, 49):
            state.pop("fg" if code == 39 else "bg", None)
        elif 30 <= code <= 37:
            state["fg"] = COLOURS[code - 30]
        elif 40 <= code <= 47:
            state["bg"] = COLOURS[code - 40]
        elif 90 <= code <= 97:
            state["fg"] = COLOURS[code - 82]
        elif 100 <= code <= 107:
            state["bg"] = COLOURS[code - 92]


state, out = {}, []
for part in re.split(r"(\x1b\[[0-9;]*m)", sys.stdin.read().rstrip("\n")):
    if part.startswith("\x1b["):
        apply(state, part[2:-1].split(";"))
    elif part:
        out.append(f'<span style="{style(state)}">{html.escape(part)}</span>')
print(f"""<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {GROUND} }}
pre {{ margin: 14px 16px; font: 15px/1.28 "DejaVu Sans Mono", monospace; color: {TEXT} }}
</style><pre>{"".join(out)}</pre>""")
