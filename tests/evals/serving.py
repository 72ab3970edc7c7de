"""An OpenAI-compatible server of the standard library that answers from a tiny real model, as vLLM or llama.cpp would."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from tests.evals.plain_scoring import log_probabilities


class Server(ThreadingHTTPServer):
    """Answers ``/v1/completions`` and ``/v1/chat/completions``.

    Attributes:
        asked: Every request: (path, headers, body).
        failures: Status codes that the next requests get; "hang", "cut" and "plain" are told apart by name.
    """

    daemon_threads = True

    def __init__(self, opened: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.opened = opened
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.failures: list[Any] = []
        self.always: Any = None
        self.one = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        failure = self.server.failures.pop(0) if self.server.failures else self.server.always
        if failure == "hang":
            time.sleep(3)
        if failure == "plain":
            return self._send(200, {"choices": [{"index": 0, "text": "no numbers", "logprobs": None}]})
        if isinstance(failure, int):
            return self._send(failure, {"error": {"message": f"told {self.headers.get('Authorization')}"}})
        with self.server.one, torch.no_grad():
            chat = self.path.endswith("/chat/completions")
            return self._send(200, self._chat(body) if chat else self._completions(body))

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _completions(self, body: dict[str, Any]) -> dict[str, Any]:
        prompts = body["prompt"]
        prompts = [prompts] if isinstance(prompts, str) or isinstance(prompts[0], int) else prompts
        ids = [self._ids(prompt) for prompt in prompts]
        made = [self._echo(one) if body.get("echo") else self._written(one, body) for one in ids]
        return {"model": body["model"], "choices": [{"index": n, **one} for n, one in enumerate(made)][::-1]}

    def _ids(self, prompt: Any) -> list[int]:
        return list(self.server.opened.tokenizer(prompt).input_ids) if isinstance(prompt, str) else list(prompt)

    def _echo(self, ids: list[int]) -> dict[str, Any]:
        """Log-probability of every token given those before, the first without, then one new token."""
        table = log_probabilities(self.server.opened, ids)
        new = int(table[-1].argmax())
        logs = [None, *(float(table[n, token]) for n, token in enumerate([*ids[1:], new]))]
        top = [None, *({str(int(row.argmax())): float(row.max())} for row in table)]
        return {"text": "", "logprobs": {"token_logprobs": logs, "top_logprobs": top}, "finish_reason": "length"}

    def _written(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        opened, made, reason = self.server.opened, [], "length"
        for _ in range(body.get("max_tokens") or body["max_completion_tokens"]):
            token = int(log_probabilities(opened, [*ids, *made])[-1].argmax())
            if token in opened.eos_ids:
                reason = "stop"
                break
            made.append(token)
        text = opened.tokenizer.decode(made, skip_special_tokens=True)
        for mark in body.get("stop") or ():
            if mark and mark in text:
                text, reason = text.split(mark)[0], "stop"
        return {"text": text, "finish_reason": reason}

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = self.server.opened.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        one = self._written(list(ids), body)
        message = {"role": "assistant", "content": one.pop("text")}
        return {"model": body["model"], "system_fingerprint": "fp_7", "choices": [{"index": 0, "message": message, **one}]}


@contextmanager
def serving(opened: Any) -> Iterator[Server]:
    server = Server(opened)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
