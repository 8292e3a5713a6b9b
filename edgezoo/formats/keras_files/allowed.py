"""The names that the configuration of a Keras file may use; everything else counts as code.

Keras builds a network by looking up every class and function that the file's JSON names. Its safe
mode prevents some ways to run code, but not in `.h5` files (CVE-2025-9905), and others were found
over time: modules of any package (CVE-2025-1550), functions of Keras that download or switch safe
mode off (CVE-2025-8747), layers that read files (CVE-2025-12058) or unpickle (CVE-2025-49655). So
this is an allow-list of what is known to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgezoo.core.typed_json import Json

# Left out: Lambda, TorchModuleWrapper, JaxLayer, FlaxLayer and TFSMLayer, which contain code;
# StringLookup, IntegerLookup and TextVectorization, which read the files that they name.
_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add
AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D AveragePooling3D
BatchNormalization Bidirectional CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D
Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GaussianDropout GaussianNoise
GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention GRU GRUCell Identity
InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D
MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute
RMSNormalization RNN RandomBrightness RandomColorJitter RandomContrast RandomCrop RandomErasing
RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomRotation RandomSaturation
RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D
SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract ThresholdedReLU
TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
ZeroPadding2D ZeroPadding3D
"""
_MODELS = "Functional Model Sequential"
# Operations of `keras.ops` that are called on tensors between layers.
_OPERATIONS = """
Absolute Amax Amin Argmax Argmin AveragePool BatchNorm BroadcastTo Cast Ceil Clip Conv
DepthwiseConv Divide DivideNoNan Einsum Elu Equal Exp ExpandDims Flip Floor FloorDivide Full
FullLike Gelu GetItem Greater GreaterEqual HardSigmoid HardSilu HardTanh LeakyRelu Less LessEqual
Log LogSoftmax Logsumexp Matmul Max MaxPool Mean Min Mod Moveaxis Negative Normalize NotEqual
OneHot OnesLike Pad Power Prod Ravel Reciprocal Relu Relu6 Repeat Roll Round Rsqrt Selu Sigmoid
Sign Silu Slice Softplus Softsign Split Sqrt Square Squeeze Stack Std StopGradient Sum Swapaxes
Take Tanh Tensordot Tile Transpose TrueDivide Unstack Var Vstack Hstack Where ZerosLike
"""
_INITIALIZERS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform IdentityInitializer LecunNormal LecunUniform
Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling
Zeros
"""
_RULES = """
L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy DTypePolicyMap
FloatDTypePolicy Policy
"""
_TRAINING = """
Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer Muon Nadam RMSprop
SGD CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay
PolynomialDecay BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy
CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy CategoricalHinge Circle
CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError
MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
SparseCategoricalCrossentropy SquaredHinge Tversky AUC Accuracy BinaryAccuracy BinaryIoU
CategoricalAccuracy F1Score FBetaScore FalseNegatives FalsePositives IoU LogCoshError MeanIoU
MeanMetricWrapper OneHotIoU OneHotMeanIoU Precision PrecisionAtRecall R2Score Recall
RecallAtPrecision RootMeanSquaredError SensitivityAtSpecificity SparseCategoricalAccuracy
SparseTopKCategoricalAccuracy SpecificityAtSensitivity TopKCategoricalAccuracy TrueNegatives
TruePositives
"""
CLASSES = frozenset(
    f"{_LAYERS} {_MODELS} {_OPERATIONS} {_INITIALIZERS} {_RULES} {_TRAINING}".split()
)
# Functions that a file may name with {"class_name": "function"}.
_FUNCTIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
softsign squareplus swish tanh tanh_shrink threshold binary_accuracy binary_crossentropy
binary_focal_crossentropy categorical_accuracy categorical_crossentropy
categorical_focal_crossentropy categorical_hinge cosine_similarity hinge huber kl_divergence
log_cosh mean_absolute_error mean_absolute_percentage_error mean_squared_error
mean_squared_logarithmic_error poisson sparse_categorical_accuracy sparse_categorical_crossentropy
sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
# What Keras writes for values that JSON does not have.
_VALUES = frozenset(
    {
        "__keras_tensor__",
        "__tensor__",
        "__numpy__",
        "__bytes__",
        "__ellipsis__",
        "__slice__",
        "__tuple__",
        "TensorShape",
    }
)
MOST_DEPTH = 200


def third_party_code(config: Any) -> tuple[str, ...]:
    """Describe everything in a configuration that is code or may lead to code, in its order.

    Args:
        config: parsed JSON: the configuration of a network or of its training.

    Raises:
        RecursionError: it is nested more than `MOST_DEPTH` levels deep.
    """
    return tuple(dict.fromkeys(_walk(config, 0)))


def _walk(value: Any, depth: int) -> Iterator[str]:
    if depth > MOST_DEPTH:
        raise RecursionError
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict):
        if "class_name" in value:
            found = _judge(value)
            if found:
                yield found
        for item in value.values():
            yield from _walk(item, depth + 1)


def _judge(named: Json) -> str | None:
    """Describe what is not allowed in an object that names a class; None if it is allowed."""
    name, module = named["class_name"], named.get("module")
    registered = named.get("registered_name")
    if name in ("Lambda", "__lambda__"):
        return "a Lambda layer" if name == "Lambda" else "a Python lambda"
    if not isinstance(name, str) or not isinstance(module, str | None):
        return "a class without a proper name"
    if name == "function":
        return _judge_function(named.get("config"), module)
    if module is not None and module != "keras" and not module.startswith("keras."):
        return f"{name} of the module {module}"
    if registered not in (None, name):
        return f"the registered class {registered}"
    if name not in CLASSES and name not in _VALUES:
        return f"the class {name}"
    return None


def _judge_function(name: Any, module: str | None) -> str | None:
    if module not in (None, "builtins") and module != "keras" and not module.startswith("keras."):
        return f"the function {name} of the module {module}"
    if not isinstance(name, str) or name not in FUNCTIONS:
        return f"the function {name}"
    return None
