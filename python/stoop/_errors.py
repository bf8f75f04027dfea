"""The wording of every message raised from Python: ``[where] what was given; what was expected; what to do.``"""

from collections.abc import Sequence


def message(where: str, given: str, expected: str, hint: str) -> str:
    """Join the three parts of a message, in the form that the compiled core uses as well."""
    end = "" if hint.endswith("?") else "."
    return f"[{where}] {given}; {expected}; {hint}{end}"


def unknown_name(where: str, what: str, name: str, valid: Sequence[str]) -> str:
    """Message for a name that is not in `valid`, with the nearest valid one suggested."""
    import difflib  # only on the way to an error

    nearest = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)[0]
    return message(
        where, f'unknown {what} "{name}"', f"expected one of {', '.join(valid)}", f'did you mean "{nearest}"?'
    )
