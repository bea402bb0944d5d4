"""`chartgate review stats`: whether people review, or wave through."""

import argparse
from dataclasses import asdict
from typing import Any

from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.flows.audit_search import parse_time
from chartgate.flows.review_stats import LAST_MAX, ReviewStats, review_stats
from chartgate.gate import Gate
from chartgate.policy.review_measures import Measures, Share

NOTHING = "nobody has decided on a proposal in this time"


def add_parser(commands: Any) -> None:
    """review stats"""
    parser = commands.add_parser(
        "review",
        help="see whether people review, or wave through",
        description="Figures of how proposals are decided on. They say nothing of patients.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    stats = verbs.add_parser(
        "stats",
        help="approvals, looks, known-bad proposals caught, and what stands out",
        description="By charter and reviewer: how many were approved, how many of those as they "
        "were proposed, how long people looked as a multiple of the shortest honest look, how often "
        "they tried to approve before it, and how many known-bad proposals they caught. A share has "
        "its 95 % interval: few decisions prove little. 'a → b' is the earlier half, then the later.",
    )
    stats.add_argument("--charter", metavar="NAME", help="only decisions under this charter")
    stats.add_argument("--person", metavar="NAME", help="only decisions of this person")
    stats.add_argument(
        "--since", default="30d", metavar="TIME", help="e.g. 7d, 12h or 2026-03-01; default: 30d"
    )
    stats.add_argument(
        "--last",
        type=whole_number(1, LAST_MAX),
        metavar="N",
        help="only the N newest of those; default: all",
    )
    add_json_flag(stats)
    stats.set_defaults(run=run_stats)


def run_stats(arguments: argparse.Namespace) -> int:
    """Prints the figures."""

    async def act(gate: Gate) -> ReviewStats:
        return await review_stats(
            gate,
            since=parse_time(arguments.since, now=gate.clock()),
            charter=arguments.charter,
            person=arguments.person,
            last=arguments.last,
        )

    stats = with_store(load_config(arguments.config), act)
    show(arguments.json, _json(stats), *_lines(stats))
    return 0


def _lines(stats: ReviewStats) -> list[str]:
    lines: list[str] = []
    for charter, figures in stats.charters.items():
        lines += [charter, *_about(figures)]
        for (of, person), theirs in stats.reviewers.items():
            if of == charter:
                lines += [
                    f"  {person.removeprefix('person:')}",
                    *(f"  {s}" for s in _about(theirs)),
                ]
    if not stats.complete:
        lines.append("older decisions were left out")
    return lines or [NOTHING]


def _about(figures: Measures) -> list[str]:
    approved, pace = figures.trend["approved"], figures.trend["pace"]
    most = f"{figures.a_minute_max} approved within one minute, {figures.run_max} in a row"
    lines = [
        f"  approved             {_share(figures.approved)}{_trend(approved, percent=True)}",
        f"  as proposed          {_share(figures.unedited)}",
        f"  approved when edited {_share(figures.agreed_after_edit)}",
        f"  look                 {_look(figures)}{_trend(pace, percent=False)}",
        f"  tried too early      {_share(figures.hurried)}",
        f"  known-bad caught     {_share(figures.caught)}",
        f"  at most              {most}",
    ]
    return lines + [f"  ! {alarm}" for alarm in figures.alarms]


def _share(share: Share) -> str:
    interval = share.interval
    if share.value is None or interval is None:
        return "none"
    low, high = interval
    return f"{share.k} of {share.n} ({share.value:.0%}, {low:.0%} to {high:.0%})"


def _look(figures: Measures) -> str:
    if figures.dwell_s is None or figures.floor_s is None:
        return "none"
    times = f", {figures.pace:.1f} times" if figures.pace is not None else ""
    return f"{figures.dwell_s:.0f} s where {figures.floor_s:.0f} s are the least{times}"


def _trend(halves: tuple[float | None, float | None], *, percent: bool) -> str:
    before, after = halves
    if before is None or after is None:
        return ""
    words = (f"{v:.0%}" if percent else f"{v:.1f}" for v in (before, after))
    return f"; {' → '.join(words)}"


def _json(stats: ReviewStats) -> dict[str, Any]:
    return {
        "since": stats.since.isoformat() if stats.since else None,
        "complete": stats.complete,
        "all": _figures(stats.all),
        "charters": [{"charter": n, **_figures(f)} for n, f in stats.charters.items()],
        "reviewers": [
            {"charter": charter, "person": person.removeprefix("person:"), **_figures(figures)}
            for (charter, person), figures in stats.reviewers.items()
        ],
    }


def _figures(figures: Measures) -> dict[str, Any]:
    shares = ("approved", "unedited", "agreed_after_edit", "hurried", "caught")
    plain = asdict(figures)
    return plain | {
        name: {
            "k": getattr(figures, name).k,
            "n": getattr(figures, name).n,
            "value": getattr(figures, name).value,
            "interval": getattr(figures, name).interval,
        }
        for name in shares
    }
