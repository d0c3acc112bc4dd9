"""The command line's options, written once for all commands; nothing here is imported but typer, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

MASK, PART, OUT, RUN, NET = "Mask", "Which part", "Output", "Run", "Trained models"

Videos = Annotated[list[str] | None, Argument(metavar="VIDEO", help="A video file, a folder or quoted pattern of frames, an animation.")]
Video = Annotated[str, Argument(metavar="VIDEO", help="A video file, a folder or quoted pattern of frames, an animation.")]
MoreVideos = Annotated[list[str] | None, Option("-i", "--video", metavar="VIDEO", help="The same as VIDEO; may be repeated.")]
Output = Annotated[
    str, Option("-o", "--output", metavar="OUT", help="The file to write; with several inputs, the folder for one output each.")
]
OneOutput = Annotated[str, Option("-o", "--output", metavar="OUT", help="The file to write, or a folder for PNG frames.")]
Fps = Annotated[str | None, Option("--fps", metavar="RATE", help="Frames per second of a folder of frames: 25, 30000/1001.")]

MaskFile = Annotated[
    str | None,
    Option("-m", "--mask", metavar="MASK", help="White = fill: picture, folder, video, npy, npz, RLE JSON.", rich_help_panel=MASK),
]
Boxes = Annotated[
    list[str] | None,
    Option("--box", metavar="X,Y,W,H[@S-E]", help="A rectangle to fill, from S to E seconds; may be repeated.", rich_help_panel=MASK),
]
Threshold = Annotated[int | None, Option("--threshold", help="Grey levels above it are filled (127).", rich_help_panel=MASK)]
Ids = Annotated[str | None, Option("--ids", metavar="1,3", help="Object ids or colours (#ff0000) to fill.", rich_help_panel=MASK)]
Encoding = Annotated[str, Option("--mask-encoding", metavar="HOW", help="auto, grey, ids, colors, alpha or quad.", rich_help_panel=MASK)]
Invert = Annotated[bool, Option("--invert", help="Black = fill.", rich_help_panel=MASK)]
KeepAffected = Annotated[bool, Option("--keep-affected", help="Leave level 127 of a quad-mask as it is.", rich_help_panel=MASK)]
Dilate = Annotated[int, Option("--dilate", metavar="PX", help="Grow the mask.", rich_help_panel=MASK)]
Erode = Annotated[int, Option("--erode", metavar="PX", help="Shrink the mask.", rich_help_panel=MASK)]
Close = Annotated[int, Option("--close", metavar="PX", help="Close gaps in the mask.", rich_help_panel=MASK)]
Feather = Annotated[int, Option("--feather", metavar="PX", help="Fade the fill in, inside the hole only.", rich_help_panel=MASK)]
MaskLength = Annotated[
    str, Option("--mask-length", metavar="RULE", help="When the mask ends early: error, hold or loop.", rich_help_panel=MASK)
]
MaskMatch = Annotated[
    str, Option("--mask-match", metavar="HOW", help="Match the mask to the video by auto, time or frame.", rich_help_panel=MASK)
]
MaskKey = Annotated[str | None, Option("--mask-key", metavar="NAME", help="Which array of an npz file.", rich_help_panel=MASK)]

Start = Annotated[float, Option("--start", metavar="SEC", help="Fill from here on; the rest is kept.", rich_help_panel=PART)]
End = Annotated[float | None, Option("--end", metavar="SEC", help="Fill up to here; the rest is kept.", rich_help_panel=PART)]
Roi = Annotated[
    str | None,
    Option("--roi", metavar="X,Y,W,H", help="Work in this part of the picture only; the rest is kept.", rich_help_panel=PART),
]
Preview = Annotated[
    int | None, Option("--preview", metavar="N", help="Only N frames from --start on, at half size, without sound.", rich_help_panel=PART)
]

Codec = Annotated[str, Option("--codec", metavar="NAME", help="auto, h264, h265, vp9, av1, ffv1, prores.", rich_help_panel=OUT)]
Crf = Annotated[int | None, Option("--crf", metavar="N", help="The encoder's quality; lower is better.", rich_help_panel=OUT)]
Lossless = Annotated[bool, Option("--lossless", help="Keep every pixel bit for bit (FFV1).", rich_help_panel=OUT)]
Provenance = Annotated[
    Path | None,
    Option("--provenance", metavar="FILE", help="A video that shows where each pixel came from.", rich_help_panel=OUT),
]
Report = Annotated[Path | None, Option("--report", metavar="FILE", help="A web page about the run.", rich_help_panel=OUT)]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=OUT)]

Model = Annotated[
    str,
    Option("--model", metavar="NAME|FOLDER", help="The family that fills, a trained model's folder, or fff:FOLDER.", rich_help_panel=RUN),
]
Seed = Annotated[int | None, Option("--seed", metavar="N", help="Another seed, another result (0).", rich_help_panel=NET)]
Steps = Annotated[
    int | None, Option("--steps", metavar="N", help="Steps of the sampling of a window (20; fff: the model's own).", rich_help_panel=NET)
]
Device = Annotated[str | None, Option("--device", metavar="NAME", help="auto, cpu or cuda.", rich_help_panel=NET)]
Dtype = Annotated[
    str | None, Option("--dtype", metavar="NAME", help="Numbers of the net: fp32, bf16, fp16 (fp32; on a GPU bf16).", rich_help_panel=NET)
]
FFFMode = Annotated[
    str | None, Option("--fff-mode", metavar="HOW", help="First frame of fff: models: feature, latent or off.", rich_help_panel=NET)
]
LongVideo = Annotated[
    str | None, Option("--long-video", metavar="HOW", help="Long clips by fff: models: blend, chain or keyframe.", rich_help_panel=NET)
]
Guidance = Annotated[
    str | None,
    Option("--guidance", metavar="MIN,MAX", help="Guidance of fff: models, first frame to last (1,3).", rich_help_panel=NET),
]
Flow = Annotated[
    str | None, Option("--flow", metavar="NAME", help="Motion for fff: models: dis, gmflow or raft (dis).", rich_help_panel=NET)
]
Inversion = Annotated[
    float | None,
    Option("--inversion", metavar="LEVEL", help="Start of fff: models from the inverted video at this noise level.", rich_help_panel=NET),
]
Memory = Annotated[
    str | None, Option("--memory", metavar="SIZE", help="Stay below this, such as 2GB (800MB; large pictures: more).", rich_help_panel=RUN)
]
KeepJob = Annotated[bool, Option("--keep-job", help="Keep the job folder OUT.framefill when all went well.", rich_help_panel=RUN)]
Json = Annotated[bool, Option("--json", help="Print one JSON object per output in place of its path.", rich_help_panel=RUN)]
Quiet = Annotated[bool, Option("--quiet", help="No progress and no warnings.", rich_help_panel=RUN)]
Debug = Annotated[bool, Option("--debug", help="Show where an error came from.", rich_help_panel=RUN)]
