"""What can go wrong while things are being set up. Every message ends with what to do about it."""

from __future__ import annotations


class SetupFailed(Exception):
    """Base of all of them; the command prints its text and nothing else, and exits with 1."""


class CommandFailed(SetupFailed):
    """A program that was needed ended with an error; the text carries the end of its output."""


class ToolMissing(SetupFailed):
    """Something of the machine is missing and could not be installed from here."""
