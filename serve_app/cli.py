"""The command ``vibevoice-serve``: demo, serve, say, job, gpus, report, key, doctor, check-gpu."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.live import Live

from serve_app import job_commands, local, screen
from serve_app.access import KEYS_OFF
from serve_app.checkup.commands import check_gpu, doctor
from serve_app.client import Client
from serve_app.config import api_key, load_serve_file, otlp_endpoint
from serve_app.errors import NotReadyError, ServeError
from serve_app.keys import key_entry, new_key
from serve_app.report_command import report
from serve_app.transport import Transport, best_transport
from telemetry.body import to_json
from telemetry.cluster import ClusterSnapshot, ClusterView
from telemetry.here import ThisNode

app = typer.Typer(
    help="Long, many-voiced speech on many GPUs.", no_args_is_help=True, add_completion=False
)
Url = Annotated[str, typer.Option(help="Base URL of a running service.")]
DEFAULT_URL = "http://127.0.0.1:8000"

app.command()(doctor)
app.command()(check_gpu)
app.command()(report)
app.add_typer(job_commands.app, name="job")


def main() -> None:
    """Run the command; an error of ours is a message, not a traceback."""
    try:
        app(standalone_mode=True)
    except ServeError as error:
        screen.console.print(f"error: {error.message}", style="red", soft_wrap=True)
        sys.exit(1)


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="A Serve config, such as configs/local.yaml.")],
    host: Annotated[str | None, typer.Option(help="Listen here instead.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port instead.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster ('auto', or host:port).")
    ] = None,
    transport: Annotated[
        Transport | None,
        typer.Option(help="How HTTP reaches the service; HAProxy where Ray brings it along."),
    ] = None,
) -> None:
    """Serve until interrupted."""
    file = load_serve_file(config)
    with local.running(
        file,
        host=host,
        port=port,
        address=address,
        environment=local.ray_environment(),
        transport=transport or best_transport(),
    ) as service:
        if file.settings.access.keys == "off":
            screen.console.print(f"WARNING: {KEYS_OFF}", style="bold red", soft_wrap=True)
        screen.console.print(f"Listening on {service.url} (stop with Ctrl-C)")
        local.wait_for_signal()
        screen.console.print("Stopping once the streams have ended; Ctrl-C again stops at once.")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; unique in the file.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="May also see and change what concerns all users.")
    ] = False,
) -> None:
    """Make an API key: print it, this once, and what the file of keys keeps of it."""
    made = new_key()
    screen.console.print(f"The key of {name}, shown this once:\n\n  {made}\n", soft_wrap=True)
    screen.console.print("For the file of keys (access.keys_file), under 'keys:':\n")
    print(key_entry(name, made, admin=admin), end="")  # noqa: T201 - exactly as it goes into YAML


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="Text, or the name of a file that holds it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the audio goes.")],
    voice: Annotated[str, typer.Option(help="Voice of the first speaker.")] = "auto",
    seed: Annotated[int | None, typer.Option(help="Another seed gives other takes.")] = None,
    url: Url = DEFAULT_URL,
    config: Annotated[
        Path | None, typer.Option(help="Start this Serve config for the one call, then stop it.")
    ] = None,
) -> None:
    """Speak text into a file; its ending (.wav, .mp3, .flac, .pcm) chooses the format."""
    with ExitStack() as stack:
        if config is not None:
            file = load_serve_file(config)
            running = local.running(file, environment=local.ray_environment(), quiet=True)
            url = stack.enter_context(running).url
        client = stack.enter_context(Client(url, api_key()))
        body = _speech_body(client, _text_of(text), output, voice, seed)
        with screen.SpeechScreen() as shown:
            spoken = client.speak(body, output, shown.progress)
            shown.progress(spoken.outcome)
    _print_summary(spoken.outcome, spoken.wall_s, spoken.path)


@app.command()
def gpus(
    url: Url = DEFAULT_URL,
    once: Annotated[bool, typer.Option(help="Print once and leave.")] = False,
) -> None:
    """Live table of the cards: all that a running service sees, or else those of this machine."""
    with ExitStack() as stack:
        look = _cards_source(stack, url)
        table = screen.card_table(look())
        if once or not screen.console.is_terminal:
            screen.console.print(table)
            return
        live = stack.enter_context(Live(table, console=screen.console, auto_refresh=False))
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(1.0)
                live.update(screen.card_table(look()), refresh=True)


def _cards_source(stack: ExitStack, url: str) -> Callable[[], Any]:
    client = stack.enter_context(Client(url, api_key()))
    try:
        client.get("/healthz")
    except NotReadyError:
        screen.console.print(f"Nothing answers at {url}; these are the cards of this machine.")
        view = ClusterView(ThisNode())
        stack.callback(view.close)
        _print_problems(asyncio.run(view.gather()))
        return lambda: to_json(asyncio.run(view.gather(time.time())))["cards"]
    return lambda: client.get("/get_metrics", since=time.time())["cards"]


def _print_problems(seen: ClusterSnapshot) -> None:
    for node in to_json(seen)["nodes"]:
        for problem in node["problems"]:
            screen.console.print(problem, soft_wrap=True)


@app.command()
def demo(
    config: Annotated[Path, typer.Option(help="A Serve config.")] = Path("configs/local.yaml"),
    script: Annotated[Path, typer.Option(help="What to speak.")] = Path(
        "configs/examples/scene.txt"
    ),
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("out/demo.wav"),
    cards: Annotated[
        Literal["nvml", "simulated", "none"] | None,
        typer.Option(help="Instead of the config's; a simulated card says so in every output."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port instead.")] = None,
) -> None:
    """Start everything, speak a scene in four voices on several replicas, stop everything."""
    # Without jobs: a demo must not go on with those that wait in this user's store.
    file = load_serve_file(config).with_args(jobs=None)
    if cards is not None:
        file = file.with_args(cards=cards)
    traces = output.parent / "trace"
    endpoint = otlp_endpoint()
    environment = local.ray_environment(trace_dir=None if endpoint else traces.resolve())
    screen.console.print("Starting Ray, the replicas and the HTTP ingress ...")
    begun_s = time.monotonic()
    with (
        local.running(
            file, port=port, environment=environment, quiet=True, transport=best_transport()
        ) as service,
        Client(service.url, api_key()) as client,
    ):
        screen.console.print(f"Ready after {time.monotonic() - begun_s:.1f} s at {service.url}")
        with screen.SpeechScreen() as shown:
            body = _speech_body(client, _text_of(str(script)), output, "auto", None)

            def on_progress(outcome: Any) -> None:
                shown.progress(outcome)
                seen = client.get("/get_metrics", since=time.time())["cards"]
                shown.cards(screen.card_table(seen, outcome["cards"]))

            spoken = client.speak(body, output, on_progress)
            shown.progress(spoken.outcome)
        seen = client.get("/get_metrics", since=time.time())["cards"]
        _print_summary(spoken.outcome, spoken.wall_s, spoken.path)
        screen.console.print(screen.card_table(seen, spoken.outcome["cards"]))
    trace_id = spoken.outcome["trace_id"] or "(not sampled)"
    where = f"sent by OTLP to {endpoint}" if endpoint else f"in {traces} (one JSON span a line)"
    screen.console.print(f"Trace {trace_id}: {where}", soft_wrap=True)


def _text_of(argument: str) -> str:
    path = Path(argument)
    try:
        is_file = path.exists() and not path.is_dir()
    except OSError:  # a text longer than a file name may be
        is_file = False
    if is_file:
        return path.read_text(encoding="utf-8")
    if path.suffix in {".txt", ".md"} and "\n" not in argument and " " not in argument:
        raise ServeError(f"There is no file {argument!r}; give a file that exists, or the text.")
    return argument


def _speech_body(
    client: Client, text: str, output: Path, voice: str, seed: int | None
) -> dict[str, Any]:
    model = client.get("/v1/models")["data"][0]["id"]
    body = {
        "model": model,
        "input": text,
        "voice": voice,
        "response_format": output.suffix.lstrip(".").lower() or "wav",
    }
    return body if seed is None else {**body, "seed": seed}


def _print_summary(outcome: Any, wall_s: float, path: Path) -> None:
    audio_s = outcome["audio_s"]
    lines = [
        f"Wrote {path}",
        f"  segments         {outcome['segments_done']} of {outcome['segments']}",
        f"  audio            {audio_s:.1f} s",
        f"  first audio      {outcome['first_audio_s']:.2f} s",
        f"  wall time        {wall_s:.1f} s",
        f"  real-time factor {wall_s / audio_s:.3f} ({audio_s / wall_s:.1f} x real time)",
        f"  retries          {outcome['retries']}",
        "  speakers         " + ", ".join(f"{who} = {v}" for who, v in outcome["speakers"].items()),
    ]
    lines += [
        f"  replica {replica}: {count} segments" for replica, count in outcome["replicas"].items()
    ]
    lines += [
        f"  doubtful: segment {item['segment']} near {item['ends_at_s']:.1f} s: {item['why']}"
        for item in outcome["doubtful"]
    ]
    screen.console.print("\n".join(lines), soft_wrap=True)
