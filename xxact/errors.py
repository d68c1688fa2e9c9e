"""The one exception that a user is meant to read, and others that a user can put right."""


class UserError(Exception):
    """Something the user can put right: the message says what, where and what to do.

    The command line prints it as one line and exits with code 2, without a traceback.
    """


#: What the world outside the program does to it: `explained` has a line for each.
MISTAKES = (UserError, OSError, UnicodeError, MemoryError)


def explained(error: BaseException) -> str:
    """One line on an error of `MISTAKES`: of the file system's, the path and what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
        return ": ".join([" -> ".join(paths), error.strerror]) if paths else error.strerror
    if isinstance(error, UnicodeError):
        return f"text that cannot be read as it is encoded: {error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory" + (f": {error}" if str(error) else "")
    return str(error)
