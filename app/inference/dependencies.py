"""How a route gets inference.

What only looks something up is `async`: anything else costs a thread.
"""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.inference.images import ImageReader
from app.inference.port import Inference


async def _inference(request: Request) -> Inference:
    inference: Inference = request.app.state.inference
    return inference


async def _image_reader(request: Request) -> ImageReader:
    reader: ImageReader = request.app.state.image_reader
    return reader


ImageReaderDep = Annotated[ImageReader, Depends(_image_reader)]
InferenceDep = Annotated[Inference, Depends(_inference)]
