"""A constant load from a pod inside the cluster; it does not hang on the API server while it runs."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.faults.measured import Request
from e2e.platform.story import Story, body_of, draw

CLIENT = Path(__file__).with_name("client.py")
CLIENTS = 4
PICTURES = 12
_START = (
    "import json,subprocess,sys\n"
    "program, *words = json.load(sys.stdin)\n"
    "open('/tmp/cases','w').write(words.pop())\n"
    "subprocess.Popen([sys.executable,'-c',program,*words],stdin=open('/tmp/cases'),"
    "stdout=subprocess.DEVNULL,stderr=open('/tmp/load.log','w'),start_new_session=True)\n"
)
_STOP = "import sys; open(sys.argv[1] + '.stop', 'w').close()"
_READ = (
    "import os,sys,time\n"
    "deadline = time.time() + 150\n"
    "while not os.path.exists(sys.argv[1]) and time.time() < deadline: time.sleep(0.1)\n"
    "sys.stdout.write(open(sys.argv[1]).read())\n"
)


@dataclass
class Load:
    """What was asked; complete when the block of `constant_load` has ended."""

    requests: list[Request] = field(default_factory=list)


@contextmanager
def constant_load(story: Story, url: str, rng: random.Random) -> Iterator[Load]:
    """Ask about twelve pictures without pause, half of it as streams, while the block runs."""
    cases = []
    for _ in range(PICTURES):
        question, picture, _ = draw(rng)
        body = body_of(question, picture)
        known = json.loads(story.post(url, body))["choices"][0]["message"]["content"]
        cases.append({"body": body, "answer": known})
    result = f"/tmp/load-{time.time_ns()}"
    words = [CLIENT.read_text(), f"{url}/v1/chat/completions", result, str(CLIENTS), json.dumps(cases)]
    story.in_client(_START, stdin=json.dumps(words))
    load = Load()
    try:
        yield load
    finally:
        story.in_client(_STOP, result)
        lines = story.in_client(_READ, result).splitlines()
        load.requests += sorted((Request.of(json.loads(line)) for line in lines), key=lambda one: one.ended)
