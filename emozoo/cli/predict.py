"""`emozoo predict`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from emozoo.prediction.faces import FaceDetector
    from emozoo.prediction.predictions import Failure, Prediction
    from emozoo.prediction.timeline import Timeline
    from emozoo.prediction.writers import Format


def predict(
    model: str = typer.Argument(help="A zoo name, dir:FOLDER, or hub:ORG/NAME."),
    paths: list[str] = typer.Argument(help="Photos, videos, folders, glob patterns."),
    faces: str = typer.Option(
        "auto",
        "--faces",
        help="What finds faces: auto, yunet, dlib, ...; none for pictures that are faces already.",
    ),
    faces_file: Path | None = typer.Option(None, "--faces-file", help="The file that the detector needs."),
    window: float | None = typer.Option(
        None, "--window", help="Seconds of a video judged together [4; models of images: 1]; 0: each frame."
    ),
    hop: float | None = typer.Option(
        None, "--hop", help="Seconds from window to window [half of one; models of images: one]."
    ),
    every: int = typer.Option(1, "--every", help="Look at every n-th frame of a video only."),
    frame_rate: float | None = typer.Option(
        None, "--frame-rate", help="Folders are videos: an image a frame, so many a second."
    ),
    form: str | None = typer.Option(
        None, "--format", help="table, jsonl, csv or parquet; else from --output."
    ),
    output: Path | None = typer.Option(None, "--output", help="Write to a file instead of the terminal."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw the timeline of the one video as FILE.png."),
    annotate: Path | None = typer.Option(
        None, "--annotate", help="Write the one video with boxes, labels and its timeline."
    ),
    tta: str = typer.Option("none", "--tta", help="Test-time augmentation: none, flip, ten-crop."),
    batch_size: int = typer.Option(32, "--batch-size", min=1, help="Images a forward pass."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1, ..."),
) -> None:
    """Predict the faces of photos and videos.

    Files that cannot be read are listed at the end; the exit status is 1 then.
    """
    from emozoo.cli.output import check_targets
    from emozoo.prediction.predictions import stream
    from emozoo.zoo import load

    chosen, media = _format(form, output), _media(paths, frames=frame_rate is not None)
    if plot or annotate:
        _check_one_video(media, plot, annotate, frames=frame_rate is not None)
    check_targets({"--output": output, "--plot": plot, "--annotate": annotate})
    loaded = load(model, device)  # before all else that needs torch: a model that cannot be had is soon said

    from emozoo.data.preprocess import check_tta
    from emozoo.prediction.videos import Windowing

    windowing, views = Windowing(window, hop, every, frame_rate), check_tta(tta)
    looking, notes = _detector(faces, faces_file) or "none", Notes(len(media))
    found = stream(loaded, media, faces=looking, windowing=windowing, tta=views, batch_size=batch_size)
    timeline = _write(found, output, chosen, notes)
    notes.show()
    if timeline is not None:
        _draw(timeline, plot, annotate)


def _write(
    found: Iterator[Prediction | Timeline | Failure], output: Path | None, form: Format, notes: Notes
) -> Timeline | None:
    """Write results as they come, and return the last if it is of a video; Ctrl-C keeps those that there are."""
    from emozoo.prediction.predictions import Failure
    from emozoo.prediction.timeline import Timeline
    from emozoo.prediction.writers import open_writer

    timeline = None
    with open_writer(output, form) as writer:
        try:
            for item in found:
                notes.take(item)
                if not isinstance(item, Failure):
                    writer.add(item)
                    timeline = item if isinstance(item, Timeline) else None
        except KeyboardInterrupt:
            notes.interrupted = True
        writer.target = _target(output, notes, writer.items)
    if output is not None:
        said = f"written to {writer.target}" if writer.target else f"to write; {output} is left as it is"
        typer.echo(f"{writer.items:,} predictions {said}", err=True)
    return timeline


def _target(output: Path | None, notes: Notes, items: int) -> Path | None:
    """Return the file that predictions go into: an empty or interrupted result never replaces a complete file."""
    if output is None or not items:
        return None
    return output.with_name(f"{output.stem}.partial{output.suffix}") if notes.interrupted else output


def _format(form: str | None, output: Path | None) -> Format:
    from emozoo.errors import DataError
    from emozoo.prediction.writers import FORMATS, form_of

    if form is not None and form not in FORMATS:
        raise DataError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    if form == "parquet" and output is None:
        raise DataError("--format parquet needs --output FILE")
    return form or (form_of(output) if output is not None else "table")


def _media(paths: list[str], *, frames: bool) -> list[Any]:
    from emozoo.prediction.inputs import MEDIA_SUFFIXES, expand

    return [item for path in paths for item in (expand(path, MEDIA_SUFFIXES, frames=frames) or [path])]


def _check_one_video(media: list[Any], plot: Path | None, annotate: Path | None, *, frames: bool) -> None:
    """Refuse, before any work, to draw what cannot be drawn."""
    from emozoo.errors import DataError
    from emozoo.prediction.annotate import check_output
    from emozoo.prediction.inputs import is_video

    if len(media) != 1 or not is_video(media[0], frames=frames):
        given = f"{len(media):,} files were given" if len(media) != 1 else f"{media[0]} is none"
        raise DataError(f"--plot and --annotate are for one video: {given}")
    if plot is not None and plot.suffix.lower() != ".png":
        raise DataError(f"--plot {plot}: the picture is a PNG file; call it .png")
    if annotate is not None:
        check_output(annotate, Path(media[0]))


def _detector(faces: str, file: Path | None) -> FaceDetector | None:
    """Return what finds faces, and say what it is."""
    from emozoo.prediction.detection import find_detector
    from emozoo.prediction.faces import open_detector

    detector = find_detector(faces if file is None else open_detector(faces, file=str(file)))
    if detector is not None:
        typer.echo(f"faces are found by {detector.name}", err=True)
        for name, reason in detector.passed_over.items():
            brief = shorten(reason, 72, placeholder=" ...")
            more = f" (--faces {name} says why)" if brief.endswith(" ...") else ""
            typer.echo(f"  {name} was passed over: {brief}{more}", err=True)
    return detector


def _draw(timeline: Timeline, plot: Path | None, annotate: Path | None) -> None:
    """Draw the one video, whose predictions are written by now, whatever happens here."""
    from emozoo.prediction.annotate import annotate_video
    from emozoo.prediction.inputs import reading
    from emozoo.prediction.timeline_plot import draw_timeline

    if plot is not None:
        with reading(f"--plot {plot}"):
            draw_timeline(plot, timeline)
    if annotate is not None:
        with reading(f"--annotate {annotate}"):
            annotate_video(annotate, timeline)


class Notes:
    """What is said at the end: what held no face, what is damaged, what could not be read."""

    def __init__(self, total: int) -> None:
        self.total, self.taken, self.interrupted = total, 0, False
        self.failures: list[str] = []
        self.faceless: list[str] = []
        self.damaged: list[str] = []

    def take(self, item: Prediction | Timeline | Failure) -> None:
        """Note what there is to say of a result."""
        from emozoo.prediction.predictions import Failure, Prediction

        self.taken += 1
        if isinstance(item, Failure):
            self.failures.append(item.reason)
            return
        if not (item.faces if isinstance(item, Prediction) else item.tracks):
            self.faceless.append(item.source)
        if not isinstance(item, Prediction) and item.damaged:
            self.damaged.append(f"{item.source}: {item.damaged}")

    def show(self) -> None:
        """Say it on the error stream; end with status 1 where files could not be read, 130 if it was interrupted."""
        named = {
            "hold no face that was found (--faces none takes pictures that are faces already)": self.faceless,
            "are damaged, and were read as far as that goes": self.damaged,
            "could not be read": self.failures,
        }
        for what, files in named.items():
            if files:
                typer.echo(f"{len(files):,} of {self.total:,} files {what}:", err=True)
            for line in files:
                typer.echo(f"  {line}", err=True)
        if self.interrupted:
            typer.echo(f"{self.taken:,} of {self.total:,} files were looked at", err=True)
            raise KeyboardInterrupt
        if self.failures:
            raise typer.Exit(1)
