"""The networks that Rollcall knows, as data."""

from ml.backbones.card import Landmarks, ModelCard, Normalisation, ScoringFacts, WeightsFile
from ml.errors import ModelError
from ml.priors import DLIB_RESNET_PRIOR, assumed_prior
from ml.types import PairBounds, ScoreRule

# Mean MTCNN position in dlib's own 5-point chips over 2485 LFW photos of 1494 people (standard error <= 0.13 px), made
# symmetric. Aligning on it is as good as dlib's own predictors within noise.
DLIB_TEMPLATE: Landmarks = ((47.78, 45.94), (102.22, 45.94), (75.00, 77.81), (50.94, 105.48), (99.06, 105.48))

# Derived, and not measured for accuracy: the weights were not at hand. The network was trained on MTCNN boxes squeezed
# to a square, without rotation. In such crops (facenet-pytorch's evaluation: 160 px, margin 14) of 1225 development
# photos the mean landmarks are, made symmetric, eyes (46.9|112.1, 63.4), nose (79.5, 92.4), mouth (50.8|108.2, 117.1).
# A similarity cannot squeeze, so the template is DLIB_TEMPLATE, a face in its true proportions, laid on them by least
# squares (scale 1.027).
FACENET_TEMPLATE: Landmarks = ((51.55, 59.69), (107.45, 59.69), (79.50, 92.42), (54.79, 120.83), (104.21, 120.83))

# The reference points published with ArcFace (insightface, MIT); SFace and most 112 x 112 networks are trained on them.
ARCFACE_TEMPLATE: Landmarks = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
ARCFACE_CHIP_SIZE_PX = 112

# Weights chosen on the development photos (see ScoreRule); the floor is what the best of ten strangers reaches. Bounds:
# below the first lie 0.9 % of 7 094 mated pairs and 97 % of 400 000 non-mated ones, above the second 0.3 % of those.
DLIB_SCORING = ScoringFacts(
    rule=ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.88),
    bounds=PairBounds(different=0.90, same=0.92),
    prior=DLIB_RESNET_PRIOR,
    # 12 of the 13 wrong rank 1 among 1 212 mated searches led by less; 2 % of the right ones did.
    look_alike_margin=0.02,
)
# Not measured here, for want of the weights. The same rule; the floor and bounds follow the cosine that OpenCV advises
# for SFace (0.363) and, for FaceNet, a common choice of a squared distance near 1.0 (cosine 0.5).
ARCFACE_SCORING = ScoringFacts(
    rule=ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.2),
    bounds=PairBounds(different=0.2, same=0.4),
    prior=assumed_prior(middle=0.1, spread=0.06, mated_middle=0.5),
    look_alike_margin=0.05,
)
FACENET_SCORING = ScoringFacts(
    rule=ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.35),
    bounds=PairBounds(different=0.35, same=0.6),
    prior=assumed_prior(middle=0.2, spread=0.07, mated_middle=0.55),
    look_alike_margin=0.05,
)

RAW_PIXELS = Normalisation(mean=(0.0, 0.0, 0.0), scale=1.0)
ARCFACE_NORMALISATION = Normalisation(mean=(127.5, 127.5, 127.5), scale=1 / 127.5)

# A commit, not a branch: the repository is archived, and another file has had this name.
_OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/models"

_DLIB_RESNET = ModelCard(
    name="dlib-resnet",
    version="1",
    kind="backbone",
    chip_size_px=150,
    dim=128,
    landmark_template=DLIB_TEMPLATE,
    colour="RGB",
    normalisation=Normalisation(mean=(122.782, 117.001, 104.298), scale=1 / 256),
    licence="CC0-1.0 (public domain)",
    weights_origin=(
        "ResNet-29 trained by Davis King (dlib) on about 3 million faces of 7485 people: about half from VGG-Face and "
        "FaceScrub, the rest collected from the internet, none of them people of LFW. The file comes inside the Python "
        "package face-recognition-models, so nothing is downloaded."
    ),
    weights=WeightsFile(
        name="dlib-resnet",
        filename="dlib_face_recognition_resnet_model_v1.dat",
        n_bytes=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        url=None,
        package_file="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    ),
    quality_note="99.38 % on LFW verification with dlib's own alignment (davisking/dlib-models README).",
    limits=(
        "Works everywhere at once; good for small and medium galleries. The weakest of these networks in a large one: "
        "expect misses, and measure it on your own people, on children and non-European faces above all."
    ),
    scoring=DLIB_SCORING,
)

_FACENET_VGGFACE2 = ModelCard(
    name="facenet-vggface2",
    version="1",
    kind="backbone",
    chip_size_px=160,
    dim=512,
    landmark_template=FACENET_TEMPLATE,
    colour="RGB",
    normalisation=Normalisation(mean=(127.5, 127.5, 127.5), scale=1 / 128),
    licence="MIT (code and converted weights); the training images, VGGFace2, were published for research",
    weights_origin=(
        "Inception-ResNet v1 trained by David Sandberg (facenet, run 20180402-114759) on VGGFace2, converted to torch "
        "by Tim Esler (facenet-pytorch). Downloaded from facenet-pytorch's release page, which publishes no sha256."
    ),
    weights=WeightsFile(
        name="facenet-vggface2",
        filename="20180402-114759-vggface2.pt",
        n_bytes=None,
        sha256=None,
        url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
    ),
    quality_note=(
        "99.65 % on LFW verification (davidsandberg/facenet README). TAR at FAR 0.1 %: LFW 0.925, Asian faces 0.794, "
        "children 0.256 (PhotoPrism pull request 5758)."
    ),
    limits=(
        "Confuses Asian faces and children far more than SFace does: not advised where they matter. Our alignment to "
        "it is derived from its published evaluation and was not measured with these weights."
    ),
    scoring=FACENET_SCORING,
)

_SFACE = ModelCard(
    name="sface",
    version="1",
    kind="backbone",
    chip_size_px=ARCFACE_CHIP_SIZE_PX,
    dim=128,
    landmark_template=ARCFACE_TEMPLATE,
    colour="RGB",
    # OpenCV's FaceRecognizerSF: blobFromImage(chip, 1, Size(112, 112), Scalar(0, 0, 0), swapRB=true) on a BGR image
    normalisation=RAW_PIXELS,
    licence="Apache-2.0",
    weights_origin=(
        "MobileFaceNet trained with the SFace loss by Yaoyao Zhong, converted to ONNX by Chengrui Wang; downloaded "
        "from OpenCV's model zoo."
    ),
    weights=WeightsFile(
        name="sface",
        filename="face_recognition_sface_2021dec.onnx",
        n_bytes=38_696_353,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        url=f"{_OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
    ),
    quality_note=(
        "99.40 % on LFW verification (opencv_zoo README). TAR at FAR 0.1 %: LFW 0.946, Asian faces 0.998, children "
        "0.493 (PhotoPrism pull request 5758)."
    ),
    limits="The one to choose where it can be fetched; needs onnxruntime (the extra [onnx]). Children remain hard.",
    scoring=ARCFACE_SCORING,
)

_MTCNN = ModelCard(
    name="mtcnn",
    version="1",
    kind="detector",
    chip_size_px=0,
    dim=0,
    landmark_template=None,
    colour="RGB",
    normalisation=Normalisation(mean=(127.5, 127.5, 127.5), scale=1 / 128),
    licence="MIT",
    weights_origin=(
        "P-Net, R-Net and O-Net of Zhang et al. (2016), trained on WIDER FACE and CelebA, converted by David Sandberg "
        "and Tim Esler. They come inside the facenet-pytorch wheel, so nothing is downloaded."
    ),
    weights=None,
    quality_note="Found a face in each of 5387 LFW development photos (smallest face 40 px); measured here.",
    limits="Upright or slightly turned faces.",
)

_YUNET = ModelCard(
    name="yunet",
    version="1",
    kind="detector",
    chip_size_px=0,
    dim=0,
    landmark_template=None,
    colour="BGR",
    normalisation=RAW_PIXELS,
    licence="MIT",
    weights_origin="YuNet by Shiqi Yu and others, trained on WIDER FACE; downloaded from OpenCV's model zoo.",
    weights=WeightsFile(
        name="yunet",
        filename="face_detection_yunet_2023mar.onnx",
        n_bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        url=f"{_OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    ),
    quality_note=(
        "AP on WIDER FACE 0.884 easy, 0.866 medium, 0.750 hard (opencv_zoo README); found 200 of 200 LFW faces, and "
        "nine faces in a street frame where MTCNN found six (measured here)."
    ),
    limits="Trained for faces of about 10 to 300 px: shrink close-ups first.",
)

_CARDS = (_DLIB_RESNET, _SFACE, _FACENET_VGGFACE2, _MTCNN, _YUNET)


def all_cards() -> tuple[ModelCard, ...]:
    """Every card, in the order in which a person should be shown them."""
    return _CARDS


def find_card(name: str) -> ModelCard:
    """Look a network up by name.

    Args:
        name: as in `ModelCard.name`, e.g. `dlib-resnet`.

    Raises:
        ModelError: there is no such card; the message names those there are.
    """
    for card in _CARDS:
        if card.name == name:
            return card
    known = ", ".join(card.name for card in _CARDS)
    raise ModelError(f"there is no model called {name!r}: choose {known}, or onnx:FILE for a backbone of your own")
