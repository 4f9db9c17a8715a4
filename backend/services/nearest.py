"""What a name that is not there was most likely meant to be."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def nearest(name: str, there: Collection[str]) -> str | None:
    """The name that is meant, if one is like it; first of all one that differs in case alone."""
    # Only for an error's words: every start would pay for it.
    import difflib

    same = [each for each in there if each.lower() == name.lower()]
    return next(iter(same or difflib.get_close_matches(name, there, n=1)), None)


def hint(names: Sequence[str], there: Collection[str]) -> str:
    """What to say behind names that are not there: which are meant, or nothing."""
    near = [repr(each) for name in names if (each := nearest(name, there)) is not None]
    if not near:
        return ""
    return f"; {'is' if len(near) == 1 else 'are'} {', '.join(near)} meant?"
