"""The filter's report as a page to read: self-contained, no script, no network; what models wrote
is shown as text only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from data_filters.report.damage import COUNTS
from data_filters.report.escape import plain

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2125; --paper: #ffffff; --soft: #5b6168; --line: #d5d9dd; --bar: #0067a5; }
@media (prefers-color-scheme: dark) { :root
{ --ink: #e6e9ec; --paper: #14171a; --soft: #aeb6bf; --line: #3a4046; --bar: #63b8f5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
margin: 0 auto; padding: 1rem; }
h1 small { display: block; font-size: 1rem; color: var(--soft); } h2 { margin: 2rem 0 .2rem; }
p.note { color: var(--soft); margin: 0 0 .6rem; } div.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { text-align: left;
padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
 td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
i.bar { display: inline-block; height: .7em; background: var(--bar); } pre { white-space: pre-wrap; overflow-wrap: anywhere;
margin: .2rem 0 .8rem; border-left: 3px solid var(--line); padding-left: .6rem; } summary { cursor: pointer; overflow-wrap: anywhere; }
"""
_DAMAGE_NOTE = (
    "Traces with a right answer. Changed: declined, dropped or no longer right. "
    "What only memory could answer is counted apart."
)
_CANARY_NOTE = (
    "Made-up facts in copies of kept traces; their twins are told in the prompt. "
    "A worked step follows from numbers of the prompt."
)
_MODES = {
    "filter": "",
    "report_only": "Report only: kept/ holds everything that could be read, as it was. Below: what would have happened.",
}


def to_html(report: Mapping[str, Any]) -> str:
    """The whole page, also well-formed XML; the same report gives the same text."""
    read, kept = report["read"], report["kept"]
    verb = "would be kept" if report["mode"] == "report_only" else "kept"
    body = [
        f"<header><h1><small>What the filters did</small>{kept:,} of {read:,} traces {verb}</h1>{plain(_MODES[report['mode']])}</header>",
        _section("Dropped", "The first filter that fires is named.", _table(_dropped(report), 2)),
        _section(
            "By source",
            "untold: kept traces that state what nobody gave.",
            _table(_sources(report["sources"]), 1),
        ),
        _section(
            "Spans",
            "What kept traces state, who gave it, and what was done.",
            _table(_spans(report["spans"]), 3),
        ),
        _section(
            "Damage",
            _DAMAGE_NOTE,
            _table(_damage(report), 1) + _samples({"the worst": report["damage"]["worst"]}),
        ),
        _section(
            "Planted canaries",
            _CANARY_NOTE,
            _table(_canaries(report), 1),
        ),
        _section(
            "Exposure",
            _exposure_note(report["exposure"]),
            _table(_exposure(report["exposure"]), 1) + _table(_highest(report["exposure"]), 2),
        ),
        _section(
            "Diversity",
            "Of what was read with a right or unknown answer, and of what was kept.",
            _table(_diversity(report["diversity"]), 1),
        ),
        _section(
            "Samples",
            "The first of each kind, as the models wrote them.",
            _samples(report["samples"]),
        ),
    ]
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    head = f'<meta charset="utf-8"/>{viewport}<title>Filter report</title><style>{_STYLE}</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(filter(None, body))
        + "\n</body></html>\n"
    )


def _section(title: str, note: str, content: str) -> str:
    return (
        f'<section><h2>{title}</h2><p class="note">{plain(note)}</p>{content}</section>'
        if content
        else ""
    )


def _table(rows: Sequence[Sequence[object]], texts: int) -> str:
    """Header first; `texts` says how many leading columns are text."""
    if len(rows) < 2:
        return ""
    lines = (
        "".join(
            _cell(cell, "th" if not number else "td", place >= texts)
            for place, cell in enumerate(row)
        )
        for number, row in enumerate(rows)
    )
    return (
        '<div class="scroll" tabindex="0"><table>'
        + "".join(f"<tr>{line}</tr>" for line in lines)
        + "</table></div>"
    )


def _cell(value: object, tag: str, right: bool) -> str:
    shown = (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )
    # names of counts, which then may be broken
    shown = shown.replace("_", " ") if tag == "th" else shown
    return f"<{tag}{' class=' + chr(34) + 'n' + chr(34) if right else ''}>{plain(shown)}</{tag}>"


def _dropped(report: Mapping[str, Any]) -> list[list[object]]:
    rows = [
        [by, reason, count]
        for by, reasons in sorted(report["dropped"].items())
        for reason, count in sorted(reasons.items(), key=lambda r: -r[1])
    ]
    return [["filter", "reason", "traces"], *rows]


def _sources(sources: Mapping[str, Mapping[str, int]]) -> list[list[object]]:
    names = sorted(
        {name for counts in sources.values() for name in counts},
        key=lambda name: (name.startswith("dropped"), name),
    )
    return [
        ["source", *names],
        *(
            [source, *(counts.get(name, 0) for name in names)]
            for source, counts in sorted(sources.items())
        ),
    ]


def _spans(spans: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    return [
        ["kind", "grounding", "action", "spans"],
        *([s["kind"], s["grounding"], s["action"], s["count"]] for s in spans),
    ]


def _damage(report: Mapping[str, Any]) -> list[list[object]]:
    damage = report["damage"]
    return [
        ["", "traces"],
        *([name, damage[name]] for name in COUNTS),
        ["damage rate", float(damage["rate"])],
    ]


def _canaries(report: Mapping[str, Any]) -> list[list[object]]:
    rows = [
        [kind, *(_share(fates[name]) for name in ("found", "overdone"))]
        for kind, fates in sorted(report["canaries"].items())
    ]
    return [["kind", "found", "twin not left alone"], *rows]


def _share(found: Mapping[str, float]) -> str:
    return (
        f"{found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}] of {found['n']}"
        if found["n"]
        else "none"
    )


def _exposure_note(exposure: Mapping[str, Any]) -> str:
    cap = f"cap {exposure['cap']}" if exposure["cap"] else "no cap"
    return f"Facts by how often a training of {exposure['epochs']:g} epochs would show them, given ones too; {cap}."


def _exposure(exposure: Mapping[str, Any]) -> list[list[object]]:
    labels = list(dict.fromkeys([*exposure["seen"]["stated"], *exposure["seen"]["left"]]))
    rows = [
        [label, *(exposure["seen"][name].get(label, 0) for name in ("stated", "left"))]
        for label in labels
    ]
    return [["times seen", "facts before", "facts after"], *rows]


def _highest(exposure: Mapping[str, Any]) -> list[list[object]]:
    return [
        ["of", "seen most", "times"],
        *([fact["subject"], fact["value"], float(fact["seen"])] for fact in exposure["highest"]),
    ]


def _diversity(diversity: Mapping[str, Mapping[str, float]]) -> list[list[object]]:
    before, after = diversity["before"], diversity["after"]
    return [
        ["", "before", "after"],
        *([name.replace("_", " "), float(before[name]), float(after[name])] for name in before),
    ]


def _samples(samples: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    parts = []
    for label, found in sorted(samples.items()):
        if not found:
            continue
        shown = "".join(
            f"<p>{plain(one['source'])} {plain(one['id'])}: {plain(_why(one))}</p><pre>{plain(one['text'])}</pre>"
            for one in found
        )
        parts.append(f"<details><summary>{plain(label)}</summary>{shown}</details>")
    return "".join(parts)


def _why(sample: Mapping[str, str]) -> str:
    """What became of a damaged trace, and the reason."""
    return " ".join(filter(None, (sample.get("what"), sample["reason"])))
