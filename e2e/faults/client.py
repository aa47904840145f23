"""Asks without pause until it is told to stop, and writes down every request. Runs in a pod: standard library only.

`python -c <this file> URL RESULT THREADS < cases.json`. RESULT gets one JSON line a request when `RESULT.stop` exists.
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]
TIMEOUT_S = 120.0
PAUSE_S = 0.25
"""Between two requests of one client: the load is there to see faults, not to fill the machine."""


def main() -> None:
    url, result = sys.argv[1:3]
    cases = json.load(sys.stdin)
    records: list[Record] = []
    threads = [
        threading.Thread(target=_ask_on, args=(url, cases, number, f"{result}.stop", records))
        for number in range(int(sys.argv[3]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(f"{result}.part", "w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    os.replace(f"{result}.part", result)


def _ask_on(url: str, cases: list[Record], number: int, stop: str, records: list[Record]) -> None:
    """One client; every second one streams."""
    turn = number
    while not os.path.exists(stop):
        case = cases[turn % len(cases)]
        turn += 1
        is_stream = number % 2 == 1
        began = time.time()
        outcome = _ask(url, case, is_stream)
        records.append({"began": began, "ended": time.time(), "stream": is_stream, **outcome})
        time.sleep(PAUSE_S)


def _ask(url: str, case: Record, is_stream: bool) -> Record:
    # Streams go on after the answer's end, so that a fault meets some of them in the middle.
    longer = {"stream": True, "ignore_eos": True, "max_tokens": 48} if is_stream else {}
    body = json.dumps({**case["body"], **longer}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    pieces: list[str] = []
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            if is_stream:
                _read_stream(reply, pieces)
            else:
                pieces.append(json.load(reply)["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as fault:
        return _failed(f"HTTP {fault.code}: {fault.read().decode(errors='replace')[:300]}", pieces)
    except Exception as fault:  # every way in which a request can fail is a finding
        return _failed(repr(fault), pieces)
    answer = "".join(pieces)
    is_right = answer.startswith(case["answer"]) if is_stream else answer == case["answer"]
    if not is_right:
        return {"outcome": "wrong", "detail": f"{answer!r}, not {case['answer']!r}", "pieces": len(pieces)}
    return {"outcome": "right", "detail": "", "pieces": len(pieces)}


def _read_stream(reply: Iterable[bytes], pieces: list[str]) -> None:
    for line in reply:
        text = line.decode().strip()
        if text == "data: [DONE]":
            return
        if text.startswith("data: "):
            event = json.loads(text.removeprefix("data: "))
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            contents = [choice["delta"].get("content") for choice in event["choices"]]
            pieces += [content for content in contents if content]
    raise EOFError("the stream ended without [DONE]")


def _failed(detail: str, pieces: list[str]) -> Record:
    return {"outcome": "failed", "detail": detail, "pieces": len(pieces)}


if __name__ == "__main__":
    main()
