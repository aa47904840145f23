"""The demo itself; `make demo` calls it with the interpreter of `.venv`."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from e2e.cluster.errors import ClusterFailed
from e2e.demo.asking import Answer, AskingFailed, ask, curl_line, write_request
from e2e.demo.parts import ROOT, LocalInstallation
from e2e.demo.pictures import Asked, draw_questions
from e2e.demo.routes import draw_routes, tokens_saved
from e2e.demo.service import MODEL, MODELS, SAMPLE, SERVICE, sample
from e2e.demo.waiting import wait_until_ready
from e2e.setup.progress import say, step
from internvl_engines.contract.checkpoint import read_checkpoint_config
from internvl_operator.standalone.processes import ProcessesLost

READY_WITHIN_S = 180.0
DEFAULT_QUESTION = "How many shapes are there?"
TILE_SIDE_ON_SCREEN = 224


def main() -> int:
    """Run the demo; exit status 1 when an answer was wrong or a part failed."""
    arguments = _parse_arguments()
    began, wrong = time.monotonic(), 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="internvl-demo-"))
    try:
        with LocalInstallation(arguments.kubeconfig) as installation:
            url = _apply_and_wait(installation)
            print(f"\n$ kubectl get ivl\n{installation.kubectl('get', 'ivl')}", flush=True)
            wrong = _ask_all(url, _questions(arguments, folder), folder)
            say(f"from the first line to the last answer: {time.monotonic() - began:.1f} s")
            if os.environ.get("DEMO_EXIT"):
                print(f"The pictures are kept in {folder}", flush=True)
            else:
                _say_how_to_go_on(installation, url, folder)
                _stay(installation)
    except KeyboardInterrupt:
        print()
    except (ClusterFailed, ProcessesLost, AskingFailed) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 1 if wrong else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--picture", type=Path, help="a picture of your own")
    parser.add_argument("--question", help="what to ask about it")
    parser.add_argument("--kubeconfig", type=Path, help="use this existing cluster")
    arguments = parser.parse_args()
    if arguments.picture is not None and not arguments.picture.is_file():
        parser.error(f"PICTURE: there is no file {arguments.picture}")
    return arguments


def _apply_and_wait(installation: LocalInstallation) -> str:
    """Apply the sample, its models' folder replaced by this checkout's, and return the service's URL."""
    manifest = sample()
    print(
        f"\n$ kubectl apply -f {SAMPLE.relative_to(ROOT)}   # models of this checkout\n{manifest}", flush=True
    )
    installation.kubectl("apply", "-f", "-", stdin=manifest)
    with step(f"waiting until internvlservice/{SERVICE} is Ready"):
        service = wait_until_ready(installation, SERVICE, timeout_s=READY_WITHIN_S)
    return str(service["status"]["url"])


def _questions(arguments: argparse.Namespace, folder: Path) -> list[Asked]:
    if arguments.picture is None:
        return draw_questions(folder, random.SystemRandom().randrange(2**32))
    question = arguments.question or DEFAULT_QUESTION
    return [Asked(str(arguments.picture), question, arguments.picture.resolve())]


def _ask_all(url: str, questions: list[Asked], folder: Path) -> int:
    """Ask each and print it; returns how many answers are known to be wrong."""
    config = read_checkpoint_config(MODELS / MODEL)
    wrong = 0
    for number, asked in enumerate(questions, 1):
        request = folder / f"request-{number}.json"
        write_request(request, model=MODEL, question=asked.question, picture=asked.picture)
        answer = ask(url, request)
        verdict = ""
        if asked.expected is not None:
            right = answer.text.strip() == asked.expected
            wrong += not right
            verdict = "   (right)" if right else f"   (WRONG: it is {asked.expected!r})"
        stages = "  ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in answer.stage_ms.items())
        print(f"[{number}] {asked.title}{f': {asked.picture}' if asked.picture else ''}")
        print(f"    question  {asked.question}")
        print(f"    answer    {answer.text}{verdict}")
        print(f"    tokens    {answer.prompt_tokens} in, {answer.completion_tokens} out")
        print(f"    stages    {stages} (ms)")
        if asked.picture is not None:
            routes = folder / f"routes-{number}.png"
            _draw(asked.picture, answer, config.tokens_per_tile, routes)
            print(f"    router    {tokens_saved(answer.images, config.tokens_per_tile)}")
            print(f"    seen as   {routes}")
        print(flush=True)
    return wrong


def _draw(picture: Path, answer: Answer, kept_tokens: int, target: Path) -> None:
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    draw_routes(image, answer.images[0], kept_tokens=kept_tokens, side=TILE_SIDE_ON_SCREEN).save(target)


def _say_how_to_go_on(installation: LocalInstallation, url: str, folder: Path) -> None:
    kubectl = " ".join(installation.kubectl_command)
    print(
        f"""
Ask again:      {curl_line(url, folder / "request-1.json")}
Change it:      {kubectl} edit ivl {SERVICE}
Why is it so:   {kubectl} describe ivl {SERVICE}
Ray dashboard:  {installation.ray.dashboard_url}
Logs:           operator {installation.operator_log}
                Ray      {installation.ray.folder}/*/session_latest/logs
Pictures:       {folder}
""",
        flush=True,
    )


def _stay(installation: LocalInstallation) -> None:
    print("Everything runs until Ctrl-C.", flush=True)
    while True:
        installation.check_operator()
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
