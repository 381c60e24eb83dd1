"""What `/v1/spatial/*`, `/v1/models/*` and `/v1/jobs` take and give, as documents of the API describe it.

Knows fields, limits and examples (the contract of `ask --json` and its sisters). Does not know how answers are found.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from deixis.errors import DeixisError

MAX_QUESTION = 4_000
EXAMPLE_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAHElEQVR42mP4QCJgGIQaDigokIRGNdBGwzBISwC+1egQ"
    "/wed4wAAAABJRU5ErkJggg=="
)


class Body(BaseModel):
    """What is sent: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Told(BaseModel):
    """What is answered; later versions may tell more."""

    model_config = ConfigDict(extra="allow")


def _numbers(value: Any) -> Any:
    """FX,FY,CX,CY, as a form's field writes it."""
    return value.split(",") if isinstance(value, str) else value


Address = Annotated[str, Field(min_length=1, description="An http(s) address, or a data URI; in a form, a file.")]
Question = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
Camera = Annotated[
    tuple[float, float, float, float] | None,
    BeforeValidator(_numbers),
    Field(description="The picture's camera in its pixels: fx, fy, cx, cy."),
]


class Asked(Body):
    """What every spatial request may say."""

    model: str | None = Field(None, max_length=200, description="A name of /v1/models; without it, the default.")
    camera: Camera = None
    fov_deg: float | None = Field(None, gt=0, lt=180, description="Instead of camera: the horizontal field of view.")
    timeout_s: float | None = Field(None, gt=0, description="Less time than the server allows by itself.")

    @model_validator(mode="after")
    def _one_camera(self) -> Asked:
        if self.camera is not None and self.fov_deg is not None:
            raise ValueError("camera and fov_deg are both given; expected one of them")
        return self


class AskedPicture(Asked):
    """About one picture."""

    image: Address
    max_pixels: int | None = Field(None, ge=64, description="Refuse larger pictures than that.")


class AskBody(AskedPicture):
    """A question about a picture, in English or Chinese."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"image": EXAMPLE_PICTURE, "question": "Is the mouse left of the keyboard?"}]}
    )
    question: Question
    evidence: bool = Field(True, description="Locate what the answer speaks of, and check it by geometry.")


class LocateBody(AskedPicture):
    """What to find."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": EXAMPLE_PICTURE, "what": "the red cup"}]})
    what: Question
    three_d: bool = Field(False, description="3D boxes too, in metres.")


class SceneBody(AskedPicture):
    """A picture of which everything is wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": EXAMPLE_PICTURE, "fov_deg": 60}]})
    language: Literal["en", "zh"] = "en"


class WatchBody(Asked):
    """A question about a video."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"video": "https://example.com/table.mp4", "question": "Where is the red cup now?"}]}
    )
    video: Address
    question: Question
    fps: float | None = Field(None, gt=0, le=1000, description="Frames a second to locate things in.")
    frames: int | None = Field(None, ge=2, le=100_000, description="At most so many frames.")
    background: bool = Field(False, description="Answer at once with a job, whose progress /v1/jobs tells.")


class ModelBody(Body):
    """A model's name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "nano"}]})
    model: str = Field(min_length=1, max_length=200)


# --- answers ------------------------------------------------------------------------------------------------------------------

BoxPx = tuple[float, float, float, float]


class ObjectTold(Told):
    """An object: pixels are those of the picture."""

    label: str
    box_px: BoxPx
    score: float | None
    interval_px: list[tuple[float, float]] | None
    box_3d: list[float] | None = None
    depth_m: float | None = None
    visible_fraction: float | None = None


class ClaimTold(Told):
    """One thing that the answer says, and what geometry has to say about it."""

    claim: str
    frame: str
    model: str
    geometry: str
    agrees: bool | None


class Answered(Told):
    """Which model, and how long each step took."""

    model: str
    timings_ms: dict[str, float]


class AskTold(Answered):
    """An answer with its evidence."""

    answer: str
    verdict: str
    confidence: float
    objects: list[ObjectTold]
    claims: list[ClaimTold]
    camera: dict[str, Any]


class LocateTold(Answered):
    """Where every instance is."""

    objects: list[ObjectTold]
    absent: bool


class SceneTold(Answered):
    """Everything in a picture; see deixis.spatial.scene for all fields."""

    objects: list[ObjectTold]
    relations: list[dict[str, Any]]
    supports: list[dict[str, Any]]
    camera: dict[str, Any]


class WatchTold(Answered):
    """An answer about a video, with moments to look at."""

    answer: str
    verdict: str
    confidence: float
    events: list[dict[str, Any]]
    tracks: list[dict[str, Any]]


class JobTold(Told):
    """A question about a video that is answered in the background."""

    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    step: str
    share: float
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class ModelTold(Told):
    """A model, in OpenAI's fields; `deixis` holds its state."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    deixis: dict[str, Any]


class ModelsTold(Told):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelTold]


class HealthTold(Told):
    """Whether requests are answered."""

    status: str


class FaultTold(Told):
    """What went wrong: `code` is the class of deixis.errors, `type` OpenAI's family of it."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorTold(Told):
    """Every error's body."""

    error: FaultTold


_FAMILIES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_FAMILIES |= {429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"}


def error_body(error: DeixisError, param: str | None = None) -> dict[str, Any]:
    """An error as every route tells it. `error.type` is the family that OpenAI's clients know."""
    family = _FAMILIES.get(error.http_status, "invalid_request_error" if error.http_status < 500 else "server_error")
    return {"error": {"message": str(error), "type": family, "code": type(error).__name__, "param": param}}
