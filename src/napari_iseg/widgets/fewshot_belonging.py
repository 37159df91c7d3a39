"""Which labels the few-shot result that is shown, and the run under way, belong to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.errors import IsegError
from napari_iseg.widgets.fewshot_outputs import Known, Made, Whose, labels_needed, made_from
from napari_iseg.widgets.fewshot_taken import Taken, was_made_from
from napari_iseg.widgets.reports import report, warn

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_iseg.widgets.fewshot_controller import FewShotController

Results = Callable[[], Known]  # those that there are now of an image


class Belonging:
    """Knows it by their names, on disk and in the viewer.

    What was accepted of some labels is no annotation of others.
    """

    def __init__(self, controller: FewShotController) -> None:
        self._controller = controller
        self._made = Made()
        self._chosen: tuple[Labels | None, str | None] = None, None  # with the name that they had
        self._begun: tuple[Labels | None, str | None, Results, Taken] | None = None  # the run under way
        self._known: Results | None = None  # of the image whose result is shown
        self.words = ""  # on what the run under way goes on with or leaves, until it has ended

    @property
    def whose(self) -> Whose:
        """For which labels a result is looked for now."""
        from napari.layers import Labels

        controller = self._controller
        there = (str(layer.name) for layer in controller.viewer.layers if isinstance(layer, Labels))
        shown = None if controller.results is None else controller.results.output.path
        opened = controller.images.attempt(controller.image, controller.view.settings.axis)
        agree = None
        if opened is not None:
            painted = controller.annotations.attempt(opened.image, opened.frame)
            if painted is not None:
                agree = partial(was_made_from, labels=painted, frame=opened.frame)
        return Whose(controller.annotations.name, frozenset(there), shown, agree)

    def choose(self, labels: Labels | None) -> bool:
        """These are annotated in; whether they are others than before, or have another name."""
        self._follow_names()
        before, self._chosen = self._chosen, (labels, None if labels is None else str(labels.name))
        self._controller.annotations.labels = labels
        if before != self._chosen:
            self.words = ""
        return before != self._chosen

    def _follow_names(self) -> None:
        try:
            for old, new in self._made.follow_names():
                warn(
                    f"There is an earlier result made from labels {new!r}: they go on with it now. That of "
                    f"labels {old!r} stays as it is; rename the layer back to go on with that."
                )
        except IsegError as error:
            report(error)

    def stays(self) -> bool:
        """Whether the result that is shown goes on with what is chosen now; says so.

        Of a run that is not shown yet ``is_for_now`` tells once it is known where its result lies.
        """
        results, whose = self._controller.results, self.whose
        if results is None or self._known is None:
            return False
        path = results.output.path
        stays = whose.labels is None or self._known().of(whose) == path
        needed = labels_needed(path) if whose.labels is None else None
        of = "" if made_from(path) in (None, whose.labels) else f", made from labels {made_from(path)!r}"
        if not stays:
            words = "These labels have a result of their own, by Run; that of before stays."
        elif whose.labels is None and needed is not None:
            words = f"The result stays; choose labels {needed!r} to go on with it."
        elif whose.labels is None:
            words = "The result stays: without labels, Run goes on with what was clicked and accepted."
        else:
            words = f"Run goes on with the result that is shown{of}."
        self._controller.view.set_status(words)
        return stays

    def begin(self, known: Results, taken: Taken) -> None:
        """A run begins with what is chosen; ``taken`` holds what it takes of it once it is prepared."""
        annotations = self._controller.annotations
        self._begun = annotations.labels, annotations.name, known, taken

    def take_words(self) -> str:
        """The words, which are not said again."""
        words, self.words = self.words, ""
        return words

    def is_for_now(self, path: Path) -> bool:
        """Whether the run that was begun, whose result lies at ``path``, goes on with what is chosen now."""
        assert self._begun is not None
        labels, name, known, taken = self._begun
        self.words = self._words_on(path, name, known()) or self.words
        try:
            self._made.keep(path, known().digests, labels, name, painted=bool(taken))
        except IsegError as error:
            report(error)
        self._follow_names()
        annotations = self._controller.annotations
        others = annotations.labels is not labels or annotations.name != name
        if others and known().of(self.whose._replace(shown=path)) != path:
            return False
        self._known = known
        return True

    def _words_on(self, path: Path, name: str | None, known: Known) -> str:
        """One sentence on whose result the run goes on with; nothing where that is clear."""
        results, before = self._controller.results, made_from(path)
        if before == name or (results is not None and results.output.path == path):
            return ""
        if before is not None:
            return f"It goes on with the result made from labels {before!r}."
        others = " and ".join(map(repr, known.besides(path)))
        if not others:
            return ""
        return f"What was made from labels {others} stays as it is, and nothing of it is used."
