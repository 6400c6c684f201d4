"""plan.json of a JAX function, with the keys of every other plan."""

from collections.abc import Mapping

from planner import spec
from planner.functions.context import FunctionContext
from planner.functions.figures import prediction, scaling, strategy_of
from planner.functions.layouts import layouts
from planner.functions.reasons import axes, checklist, design, patterns
from planner.functions.search import Candidate, Found
from planner.plan.document import SCHEMA_VERSION, provenance
from planner.plan.findings import delta, losses

__all__ = ["make"]

SHOWN = 5


def make(
    context: FunctionContext, found: Found, best: Candidate, wall_s: float, version: str
) -> dict[str, object]:
    """Return plan.json (contract, section 4); `layouts` is what emitters add to it."""
    made = prediction(context, best)
    others = _others(context, found, best, made)
    pressed = axes(context, best, made)
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "job": spec.dump(context.job),
        "provenance": provenance(context.cluster, context.stack, version),
        "checklist": checklist(context, best, made),
        "design": design(context, best, made, others),
        "axes": pressed,
        "patterns": patterns(context, best, made, pressed),
        "strategy": strategy_of(best),
        "prediction": made,
        "scaling": scaling(context, best),
        "search": _search(found, best, wall_s),
        "alternatives": others,
        "frontier": [],
        "layouts": layouts(best),
    }
    said = _notes(best)
    if said:
        document["notes"] = said
    return document


def _others(
    context: FunctionContext, found: Found, best: Candidate, made: Mapping[str, object]
) -> list[dict[str, object]]:
    """Best plans of other meshes, each with the terms that it loses by."""
    shown: list[dict[str, object]] = []
    seen = [dict(best.degrees)]
    for other in sorted(found.candidates, key=lambda c: c.step_s):
        if other.price is None or dict(other.degrees) in seen or len(shown) == SHOWN:
            continue
        seen.append(dict(other.degrees))
        theirs = prediction(context, other)
        gaps = delta(theirs, made)
        shown.append(
            {
                "strategy": strategy_of(other),
                "prediction": theirs,
                "why_worse": losses(gaps) or "the same terms; it stands later in the list",
                "delta": gaps,
            }
        )
    return shown


def _search(found: Found, best: Candidate, wall_s: float) -> dict[str, object]:
    """How much was covered, and how far from the best the answer can be."""
    open_ = sum(c.status in ("unknown", "feasible") for c in found.candidates)
    status = "time_limit" if found.limited else "feasible" if open_ else "optimal"
    bound = min(found.bound, best.step_s)
    cut = f"; {open_} meshes are not proved" if open_ else ""
    covers = (
        "the sharding of each operator, on meshes of one to three axes along the network's levels"
        f"{cut}; repeated layers are sharded alike, microbatches doubled while that pays"
    )
    return {
        "candidates": len(found.candidates),
        "priced": sum(c.price is not None for c in found.candidates),
        "over_memory": sum(c.status == "infeasible" for c in found.candidates),
        "rules": {},
        "status": status,
        "objective": best.step_s,
        "bound": bound,
        "gap": (best.step_s - bound) / best.step_s,
        "covers": ("as far as the time limit allowed, " if found.limited else "") + covers,
        "wall_s": wall_s,
    }


def _notes(best: Candidate) -> list[str]:
    """Say what a reader must know before trusting the plan."""
    notes = [
        "the function is priced as it is written: attention by products and softmax keeps its"
        " scores, and no fused kernel is assumed"
    ]
    if best.imported.opaque:
        named = ", ".join(best.imported.opaque)
        notes.append(f"nothing is known of {named}: each runs whole on every device")
    return notes
