"""What leaves the program: no login, no key, no control character, wherever it stood."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posemamba_live import cli
from posemamba_live.address import parse_address
from posemamba_live.errors import LiveError
from posemamba_live.shown import SafeFormatter, printable, public, safe
from posemamba_live.sources.network import Stream
from posemamba_live.takes.journal import Journal
from tests.support.lifted_poses import lifted_pose
from tests.support.nursery import environment

if sys.platform != "win32":
    import pty

SECRET = "s3cr3t"
MASKED = {
    # logins, with everything that a password may hold
    "rtsp://u:s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p/s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p#s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p?s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p@s3cr3t@host:554/live": "rtsp://***@host:554/live",
    "rtsp://u:p:s3cr3t@[::1]:554/live": "rtsp://***@[::1]:554/live",
    "rtsp://u:p s3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p's3cr3t@host/live": "rtsp://***@host/live",
    "rtsp://u:p\\s3cr3t@host/live": "rtsp://***@host/live",
    "RTSP://u:s3cr3t@host/live": "RTSP://***@host/live",
    "rtsp:/u:s3cr3t@host/live": "rtsp:/***@host/live",
    "rtsp:\\\\u:s3cr3t@host\\live": "rtsp:\\\\***@host\\live",
    "rtsp:u:s3cr3t@host/live": "***@host/live",
    "rtsp:///u:s3cr3t@host/live": "rtsp:///***@host/live",
    "rtsp://u:s3cr3t%40host/live": "rtsp://***%40host/live",
    "u:s3cr3t@host/live": "***@host/live",
    "u:s3cr3t@host:554/live?a=s3cr3t": "***@host:554/live?a=***",
    "http+tls://u:s3cr3t@host": "http+tls://***@host",
    "file:///u:s3cr3t@host": "file:///***@host",
    # queries and fragments
    "http://host/v.m3u8?jwt=s3cr3t": "http://host/v.m3u8?jwt=***",
    "http://host/?sid=s3cr3t&code=s3cr3t": "http://host/?sid=***&code=***",
    "http://host/?hash=s3cr3t;x=s3cr3t": "http://host/?hash=***;x=***",
    "http://host?a[0]=s3cr3t": "http://host?a[0]=***",
    "http://host/v?s3cr3t": "http://host/v?***",
    "http://host/v?s3cr3t=": "http://host/v?***",
    "http://host/v?a=1=s3cr3t": "http://host/v?a=***",
    "http://host/v?a=1?b=s3cr3t": "http://host/v?a=***",
    "http://host/v#s3cr3t": "http://host/v#***",
    "http://host/v#x?y=s3cr3t": "http://host/v#***",
    "http://host/v?x=s3cr3t#s3cr3t": "http://host/v?x=***#***",
    "host/live?token=s3cr3t": "host/live?token=***",
    # settings in the path, as cameras have them
    "rtsp://host/user=admin_password=s3cr3t_channel=1.sdp": "rtsp://host/user=***",
    "rtsp://host/a;pwd=s3cr3t;b/c": "rtsp://host/a;pwd=***;b/c",
    "ws://?origin=http://u:s3cr3t@site": "ws://***@site",
    # words of a command
    "--export=rtsp://u:s3cr3t@host/live": "--export=rtsp://***@host/live",
    "--stream=ws://u:s3cr3t@host": "--stream=ws://***@host",
    "--camera=u:s3cr3t@host": "--camera=***@host",
}
KEPT = [
    "walk.mp4", "a@b.mp4", "shots/???.png", "clip#2.mp4", "C:\\clips\\a@b.mp4", "C:/x?y=1", "--fov",
    "--export=poses.npz", "rtsp://host:554/live/1", "https://host/a/b.mp4", "ws://[::1]:8765", "0",
    "", "a:b.mp4", "shots/%04d.png", "/dev/video0", "12:30",
]  # fmt: skip


@pytest.mark.parametrize("word", MASKED)
def test_what_only_the_owner_should_know_is_masked(word: str) -> None:
    assert public(word) == MASKED[word]
    assert SECRET not in public(word)
    assert public(public(word)) == public(word)


def test_there_are_enough_forms() -> None:
    assert len(MASKED) >= 30


@pytest.mark.parametrize("word", KEPT)
def test_what_holds_no_secret_stays(word: str) -> None:
    assert public(word) == word


def test_a_file_that_exists_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("take:1@home.mp4", "a?b=c.mp4"):
        assert public(name) != name
        Path(name).touch()
        assert public(name) == name


@pytest.mark.parametrize(
    "command",
    [
        ("{}", "--headless", "--export", "{folder}/a.npz"),
        ("--camera", "{}", "--headless", "--export", "{folder}/a.npz"),
        ("{clip}", "--headless", "--export", "{}"),
        ("{clip}", "--headless", "--record", "{}"),
        ("{clip}", "--headless", "--stats", "{}"),
        ("{clip}", "--headless", "--stream", "{}"),
        ("{clip}", "--headless", "--detector-model", "{}", "--export", "{folder}/a.npz"),
        ("{clip}", "--person-model", "{}", "--headless", "--export", "{folder}/a.npz"),
        ("{clip}", "{}", "--headless"),
        ("{clip}", "--height", "{}"),
        ("{clip}", "--mode", "{}"),
        ("{clip}", "--{}"),
    ],
    ids=lambda command: " ".join(w for w in command if w != "--headless")[:30],
)
def test_no_option_prints_it(
    command: tuple[str, ...],
    walk_clip: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    restored_logging: None,
) -> None:
    """Given to the wrong option, or not to be opened: the message does not tell it."""
    monkeypatch.setattr("posemamba_live.sources.network.Stream.__init__", _unreachable)
    monkeypatch.setattr("posemamba_live.sources.video.VideoFile.__init__", _unreachable)
    for word in MASKED:
        arguments = [w.format(word, clip=walk_clip, folder=tmp_path) for w in command]
        assert cli.run([*arguments, "-vv"]) in (1, 2), word
        out, err = capfd.readouterr()
        assert SECRET not in out + err, word
        assert "error: " in err, word


def _unreachable(self: object, url: object, **_: object) -> None:
    """What a library may say: the address that it was given, in quotes."""
    try:
        raise OSError(f"[Errno 111] Connection refused: '{url}'")
    except OSError as error:
        raise LiveError(f"Cannot open {public(str(url))}", why=str(error)) from error


def test_streams_are_named_without_secrets() -> None:
    stream = Stream.__new__(Stream)
    with pytest.raises(LiveError) as caught:
        Stream.__init__(stream, "rtsp://u:s3cr3t@127.0.0.1:1/x?jwt=s3cr3t#s3cr3t")
    assert SECRET not in str(caught.value)
    with pytest.raises(LiveError) as caught:
        parse_address("ws://u:s3cr3t@host?x=s3cr3t")
    assert SECRET not in str(caught.value)


ODD_NAMES = {
    "\x1b[31mred": "\\x1b[31mred",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "a\nerror: b": "a\\nerror: b",
    "a\rb": "a\\rb",
    "\x9b31m": "\\x9b31m",
    "right\u202eto left": "right\\u202eto left",
    "\udcff": "\\udcff",
    "tab\there": "tab\\there",
    "ünïcödé 日本 🕺": "ünïcödé 日本 🕺",
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_control_characters_are_shown_escaped(name: str) -> None:
    assert printable(name) == ODD_NAMES[name]
    printable(name).encode()
    error = LiveError(f"There is no file {name}", why=f"{name} is odd", hint=f"not {name}")
    assert str(error).count(ODD_NAMES[name]) == 3
    assert len(str(error).splitlines()) == 3
    assert safe(f"{name}!").isprintable() or "\n" in name or "\t" in name


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "\0" not in name])
def test_a_name_with_escapes_does_not_reach_the_terminal(
    name: str,
    tmp_path: Path,
    walk_clip: Path,
    capfd: pytest.CaptureFixture[str],
    restored_logging: None,
) -> None:
    clip = tmp_path / f"{name}.mp4"
    os.symlink(walk_clip, clip)
    commands = [
        [f"{clip}x", "--headless", "--export", str(tmp_path / "a.npz")],
        [str(clip), "--headless", "--export", f"{clip}"],
        [str(clip), "--headless", "--export", f"{clip}.npz", "--weights", f"{clip}x"],
        [str(clip), "--headless", "--export", f"{clip}.npz", "--detector-model", f"{clip}x"],
        [str(clip), f"--{name}"],
        [str(clip), name],
    ]
    for command in commands:
        assert cli.run([*command, "-vv"]) in (1, 2)
        out, err = capfd.readouterr()
        assert all(c.isprintable() or c in "\n\t" for c in out + err), (command, out + err)
        if name not in command[-1]:  # options and arguments are escaped by the parser
            assert ODD_NAMES[name] in err


def on_a_terminal(folder: Path, program: str, *words: str) -> tuple[int, str]:
    """Exit code of a program whose words go to a terminal, and the words."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder, env=environment(), stdin=its, stdout=its, stderr=its,
    )  # fmt: skip
    os.close(its)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # nobody holds the other end any more
        pass
    os.close(ours)
    return process.wait(60.0), said.decode(errors="replace")


PROGRAMS = {
    "posemamba_live.__main__": [("{}", "--headless"), ("--{}",)],
    "posemamba_live.export": [("{}", "a.csv"), ("a.npz", "--{}"), ("{}",)],
    "posemamba_live.plot": [("{}",), ("a.npz", "b", "{}"), ("a.npz", "--at", "{}")],
    "posemamba_live.batch.__main__": [("{}",), ("--{}",)],
    "posemamba_live.doctor": [("{}",), ("--camera", "{}")],
    "posemamba_live.evaluation": [("clips", "{}"), ("clips", ".", "{}"), ("{}",)],
    "posemamba.convert": [("{}", "{}"), ("a.bin", "{}"), ("--{}", "a")],
}


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of Unix")
@pytest.mark.parametrize("module", PROGRAMS)
def test_no_program_shows_them_on_a_terminal(module: str, tmp_path: Path) -> None:
    for command in PROGRAMS[module]:
        for word in ("\x1b[35mred", "rtsp://u:s3cr3t@127.0.0.1:1/x?jwt=s3cr3t"):
            words = [part.format(word) for part in command]
            code, said = on_a_terminal(tmp_path, f"from {module} import main; main()", *words)
            assert code in (1, 2), said
            assert "\x1b[35mred" not in said
            assert "Traceback" not in said
            if module != "posemamba.convert":  # knows nothing of addresses
                assert SECRET not in said


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of Unix")
def test_what_a_damaged_file_is_called_is_shown_escaped(tmp_path: Path) -> None:
    """By those who only log, and by libraries that warn of letters."""
    journal = Journal(tmp_path / "\x1b[35mred", {"fps": 30.0, "image_size": [1280, 720]}, live=True)
    journal.extend([lifted_pose(index) for index in range(30)])
    assert journal.close()
    path = journal.path
    assert path is not None
    with path.open("ab") as file:
        file.write(bytes(100))
    for module, words in (("plot", ["--output", "a.png"]), ("export", ["a.csv"])):
        program = f"from posemamba_live.{module} import main; main()"
        code, said = on_a_terminal(tmp_path, program, str(path), *words)
        assert code == 0, said
        assert "\\x1b[35mred.journal: the record at byte" in said
        assert all(c.isprintable() or c in "\r\n" for c in said), said


def test_logs_and_tracebacks_are_safe() -> None:
    formatter = SafeFormatter("%(levelname)s: %(message)s", ["u:p s3cr3t@host"])
    try:
        raise ValueError("rtsp://u:s3cr3t@host\x1b[31m")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 1, "from u:p s3cr3t@host", None, (type(error), error, None)
        )
    text = formatter.format(record)
    assert SECRET not in text
    assert "\x1b" not in text
    assert text.splitlines()[0] == "ERROR: from ***@host"
