"""Which options of ``napari-iseg evaluate`` belong to which protocol; the others are refused, not ignored."""

from __future__ import annotations

import typer

from napari_iseg.errors import InputError

_ALL = {"split", "split_share", "split_seed", "axis", "seed", "device", "precision", "few_shot"}
_ALL |= {"kind", "out", "overwrite", "as_json"}
_OBJECTS = {"max_objects", "min_area", "ignore"}
_REFINED = {"refine", "adaptive", "refine_clicks", "input_size"}
_FINE = _OBJECTS | {"dis", "fine"}

# What a protocol is called in a sentence, and its options beside those of all.
_PROTOCOLS: dict[str, tuple[str, set[str]]] = {
    "few-shot": ("The few-shot protocol", {"baseline", "max_clicks", "cases", "supports", "draws"}),
    "clicks": (
        "The click protocol",
        {"baseline", "max_clicks", "target_iou", "all_clicks", "by_scale", "scale_bounds"}
        | _OBJECTS
        | _REFINED,
    ),
    "boxes": ("The box protocol", {"boxes", "box_noise", "baseline"} | _OBJECTS | _REFINED),
    "dis": ("Evaluation of fine masks after clicks", {"refine_edges", "dis_clicks"} | _FINE),
    "dis-boxes": ("Evaluation of fine masks from boxes", {"refine_edges", "boxes"} | _FINE),
    "edges": ("Evaluation of a model that refines edges", _FINE),
}


def refuse_others(context: typer.Context, protocol: str) -> None:
    """Refuse options that were given and that a protocol does not look at.

    Raises
    ------
    InputError
        The sentence names them all.
    """
    title, own = _PROTOCOLS[protocol]
    ignored = [
        option.opts[0]
        for option in context.command.params
        if option.param_type_name == "option"
        and option.name not in own | _ALL
        and _given(context, option.name)
    ]
    if ignored:
        raise InputError(
            f"{title} makes no use of {', '.join(ignored)}; leave out what belongs to another protocol "
            "(--clicks, --boxes, --dis, --few-shot)."
        )


def _given(context: typer.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name or "")
    return source is not None and source.name != "DEFAULT"
