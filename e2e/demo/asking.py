"""Ask the gateway with curl, as a user would."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.demo.routes import PictureRoutes

TIMEOUT_S = 60
_TIMING = re.compile(r"([a-z_]+);dur=([0-9.]+)")


class AskingFailed(Exception):
    """The gateway gave no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    stage_ms: dict[str, float]
    images: tuple[PictureRoutes, ...] = ()
    """What became of the tiles of each picture."""


def write_request(
    path: Path, *, model: str, question: str, picture: Path | None, max_tokens: int = 32
) -> None:
    """Write the body of a chat completion to `path`, so that the curl line is short enough to copy."""
    content: list[dict[str, object]] = []
    if picture is not None:
        kind = mimetypes.guess_type(picture.name)[0] or "image/png"
        data = base64.b64encode(picture.read_bytes()).decode()
        content.append({"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}})
    content.append({"type": "text", "text": question})
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "internvl": {"routes": True},
    }
    path.write_text(json.dumps(body, indent=1))


def curl_command(url: str, request: Path) -> list[str]:
    """The command that asks; it prints the answer's headers, then its body."""
    return [
        "curl", "-sS", "-i", "--noproxy", "*", f"{url}/v1/chat/completions",
        "-H", "Content-Type: application/json", "-d", f"@{request}",
    ]  # fmt: skip


def curl_line(url: str, request: Path) -> str:
    """The same as a line to copy."""
    return shlex.join(part for part in curl_command(url, request) if part != "-i")


def ask(url: str, request: Path) -> Answer:
    """Run curl.

    Raises:
        AskingFailed: with what curl or the gateway said.
    """
    command = [*curl_command(url, request), "--max-time", str(TIMEOUT_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AskingFailed(done.stderr.strip() or f"curl ended with status {done.returncode}")
    return read_answer(done.stdout)


def read_answer(reply: str) -> Answer:
    """Read headers and body as curl prints them.

    Raises:
        AskingFailed: it is no answer; with what the gateway said.
    """
    head, _, body = reply.replace("\r\n", "\n").rpartition("\n\n")
    try:
        answer = json.loads(body)
        message = answer["choices"][0]["message"]["content"]
        usage = answer["usage"]
        images = tuple(
            PictureRoutes(image["columns"], image["rows"], tuple(image["tokens_per_tile"]))
            for image in answer["internvl"]["images"]
        )
    except (ValueError, KeyError, IndexError) as error:
        raise AskingFailed(f"the gateway said: {body.strip()[:500]}") from error
    timing = next((line for line in head.splitlines() if line.lower().startswith("server-timing:")), "")
    stages = {name: float(milliseconds) for name, milliseconds in _TIMING.findall(timing)}
    return Answer(message, usage["prompt_tokens"], usage["completion_tokens"], stages, images)
