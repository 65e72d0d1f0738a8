"""The style sheet of the report: light and dark by the reader's own setting, one column on a
telephone. Nothing is fetched.
"""

from collections.abc import Mapping, Sequence

from recipes.vocabulary import Outcome

SIGNS: dict[str, str] = {
    Outcome.CORRECT: "&#10003;",
    Outcome.WRONG: "&#10007;",
    Outcome.ABSTAINED: "&#8211;",
    Outcome.UNPARSED: "?",
    Outcome.TRUNCATED: "&#8230;",
}

# Colours of series: each at least 4.5 to 1 against its paper, so that names may be written in them.
LIGHT = (
    "#0067a5",
    "#b34700",
    "#00734f",
    "#8c3a86",
    "#7a5c00",
    "#00707c",
    "#a3253f",
    "#5b6168",
    "#4b3fb5",
    "#8a4b2a",
    "#3d6b00",
    "#b0146b",
)
DARK = (
    "#63b8f5",
    "#ff9a62",
    "#43d1a1",
    "#e79cda",
    "#eec14f",
    "#61d3e0",
    "#ff8fa3",
    "#aeb6bf",
    "#b3a6ff",
    "#d8a27f",
    "#a5d65a",
    "#ff86c8",
)
OUTCOMES_LIGHT: dict[str, str] = {
    Outcome.CORRECT: "#00734f",
    Outcome.WRONG: "#a3253f",
    Outcome.ABSTAINED: "#0067a5",
    Outcome.UNPARSED: "#7a5c00",
    Outcome.TRUNCATED: "#5b6168",
}
OUTCOMES_DARK: dict[str, str] = {
    Outcome.CORRECT: "#43d1a1",
    Outcome.WRONG: "#ff8fa3",
    Outcome.ABSTAINED: "#63b8f5",
    Outcome.UNPARSED: "#eec14f",
    Outcome.TRUNCATED: "#aeb6bf",
}
PAPER = ("#ffffff", "#14171a")


def _variables(series: Sequence[str], outcomes: Mapping[str, str]) -> str:
    numbered = [f"--c{index}: {color}" for index, color in enumerate(series)]
    return "; ".join(numbered + [f"--{outcome}: {color}" for outcome, color in outcomes.items()])


STYLE = (
    f"""
:root {{ color-scheme: light dark; --ink: #1b1e22; --soft: #5c636a; --rule: #dfe3e7; \
--paper: {PAPER[0]}; --panel: #f5f7f8;
  --goal: #00734f18; {_variables(LIGHT, OUTCOMES_LIGHT)}; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e7eaed; --soft: #a0a8b0; --rule: #343a41; --paper: {PAPER[1]}; --panel: #1d2226;
    --goal: #43d1a124; {_variables(DARK, OUTCOMES_DARK)}; }}
}}
"""
    + "\n".join(f".s{n} {{ color: var(--c{n}); }}" for n in range(len(LIGHT)))
    + "\n"
    + "\n".join(f".{outcome} {{ --mark: var(--{outcome}); }}" for outcome in SIGNS)
    + """
.s-none { color: var(--soft); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2.5rem 1.5rem 5rem; background: var(--paper); \
color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; \
overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; font-weight: 680; letter-spacing: -.02em; line-height: 1.2; \
margin: 0 0 1.25rem; }
h1 small { display: block; color: var(--soft); font-size: .85rem; font-weight: 500; \
letter-spacing: 0; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; font-weight: 660; letter-spacing: -.01em; margin: 0 0 .2rem; }
h3 { display: inline; font-size: 1rem; font-weight: 620; margin: 0; }
section { border-top: 1px solid var(--rule); margin-top: 2.5rem; padding-top: 1.5rem; }
p.note, li, figcaption { color: var(--soft); font-size: .88rem; max-width: 46rem; }
p.note { margin: 0 0 1rem; }
figcaption b, figcaption { color: var(--ink); }
figcaption { margin-bottom: .5rem; }
.curves figcaption { color: var(--soft); }
.curves figcaption b { display: block; font-weight: 620; }
.headline { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1rem; }
.headline div { background: var(--panel); border-radius: .6rem; padding: .8rem 1.2rem; \
flex: 1 1 12rem; }
.headline b { display: block; font-size: 1.9rem; font-weight: 660; \
font-variant-numeric: tabular-nums; line-height: 1.25; }
.headline span { color: var(--soft); font-size: .86rem; }
.gates { list-style: none; margin: 0; padding: 0; }
.gates li { color: var(--ink); display: flex; flex-wrap: wrap; gap: .1rem .75rem; \
max-width: none; padding: .4rem 0; }
.gates .outcome { flex: 0 0 5rem; }
.gates .wanted { flex: 1 1 14rem; }
.gates li + li { border-top: 1px solid var(--rule); }
.gates em { color: var(--soft); font-style: normal; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); \
gap: 1.5rem 2.5rem; align-items: start; }
.pair:has(> section) { gap: 0 2.5rem; }
.curves, .small { display: grid; \
grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1.75rem 2rem; }
.pair > section { min-width: 0; }
figure { margin: 0; min-width: 0; }
.curves figure { display: flex; flex-direction: column; justify-content: space-between; }
svg { display: block; width: 100%; height: auto; max-width: 34rem; overflow: visible; }
.small svg:not(.badge), .curves svg { max-width: 26rem; }
svg.badge { display: inline-block; width: .85rem; height: .85rem; margin-right: .4rem; \
vertical-align: -.08rem; }
svg.long { width: 1.75rem; }
svg text { fill: var(--ink); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg .soft { fill: var(--soft); }
svg .own { fill: currentColor; font-weight: 600; paint-order: stroke; stroke: var(--paper); \
stroke-width: 3px; stroke-linejoin: round; }
svg .goal { fill: var(--correct); }
svg .core { fill: var(--goal); }
svg .grid { stroke: var(--rule); }
svg .whisker { stroke: currentColor; stroke-width: 1.5; }
svg .over { stroke: var(--ink); stroke-width: 1.2; }
svg .dot { fill: currentColor; stroke: var(--paper); stroke-width: 1; }
svg .bar { fill: currentColor; }
svg .after .bar { fill-opacity: .45; }
svg .before { stroke: var(--ink); stroke-dasharray: 3 3; }
svg .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
svg .thin { stroke-width: 1.5; }
svg .beside .curve { stroke-dasharray: 4 3; opacity: .8; }
svg .band { fill: currentColor; opacity: .14; }
svg .ideal { stroke: var(--soft); stroke-dasharray: 5 4; }
svg .rung { fill: var(--soft); stroke: var(--soft); stroke-width: 1.5; }
svg .published { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .level { stroke: currentColor; stroke-width: 1.2; stroke-dasharray: 6 3; }
svg .hollow .rung { fill: var(--paper); }
svg .steps { fill: none; stroke: var(--soft); stroke-opacity: .6; stroke-width: 1.5; }
svg .hollow .steps { stroke-dasharray: 4 3; }
svg .third .steps { stroke-dasharray: 1 3; stroke-linecap: round; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .87rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; \
width: 100%; }
th, td { text-align: right; padding: .35rem .7rem; border-bottom: 1px solid var(--rule); \
white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
.one :is(th, td):first-child, .two :is(th, td):nth-child(-n+2) { text-align: left; }
.scroll :is(th, td):first-child { position: sticky; left: 0; background: var(--paper); \
padding-left: 0; }
tbody tr:hover td { background: var(--panel); }
ul { margin: 1rem 0 0; padding-left: 1.1rem; }
details { border-bottom: 1px solid var(--rule); padding: .6rem 0; }
details:last-child { border-bottom: 0; }
summary { cursor: pointer; }
summary span { color: var(--soft); font-size: .86rem; margin-left: .5rem; }
.asked { margin: 1.1rem 0 1.6rem; }
.asked > p { margin: 0 0 .6rem; font-size: .93rem; max-width: 60rem; white-space: pre-wrap; }
.asked > p span { color: var(--soft); }
.answers { display: grid; \
grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: .6rem; }
.answer { background: var(--panel); border-left: 4px solid var(--mark, var(--soft)); \
border-radius: .3rem; padding: .55rem .8rem .7rem;
  min-width: 0; }
.answer header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .8rem; \
font-size: .84rem; font-weight: 600; }
.answer p { margin: .35rem 0 0; font-size: .9rem; white-space: pre-wrap; }
.answer p span, .answer p:empty::after { color: var(--soft); }
.answer p:empty::after { content: "no text"; font-style: italic; }
.outcome { color: var(--mark, var(--soft)); font-size: .84rem; font-weight: 600; \
white-space: nowrap; }
@media (max-width: 40rem) {
  .gates em { flex-basis: 100%; padding-left: 5.75rem; }
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  .headline div { flex-basis: 100%; padding: .6rem 1rem; }
  .headline b { font-size: 1.6rem; }
  .scroll :is(th, td):first-child { min-width: 8.25rem; max-width: 8.25rem; white-space: normal; }
}
"""
)
