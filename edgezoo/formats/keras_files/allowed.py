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
from edgezoo.formats.keras_files.keras2 import OWN

# Left out: Lambda, TorchModuleWrapper, JaxLayer, FlaxLayer and TFSMLayer, which contain code;
# StringLookup, IntegerLookup and TextVectorization, which read the files that they name.
_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout EinsumDense ELU
Embedding Equalization Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D
GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
GlobalMaxPooling3D GroupNormalization GroupQueryAttention GRU GRUCell Identity InputLayer
LayerNormalization LeakyReLU LSTM LSTMCell Masking Maximum MaxPooling1D MaxPooling2D MaxPooling3D
MelSpectrogram Minimum MixUp MultiHeadAttention Multiply Normalization Permute Pipeline PReLU
RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue
RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
ReversibleEmbedding RMSNormalization RNN SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell
Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
StackedRNNCells STFTSpectrogram Subtract ThresholdedReLU TimeDistributed UnitNormalization
UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
_MODELS = "Functional Model Sequential"
# Operations of `keras.ops` that are called on tensors between layers. Left out are those that call
# functions of the file: Cond, Map, Scan, WhileLoop and the like.
_OPERATIONS = """
Abs Absolute AdaptiveAveragePool AdaptiveMaxPool AffineTransform All AllClose Amax Amin Angle Any
Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition
Argsort Array ArraySplit AveragePool BatchNorm Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift
BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo Cast Cbrt CDist Ceil Celu Cholesky
CholeskyInverse Clip Conj Conjugate Conv ConvertToTensor ConvTranspose Copy Corrcoef Correlate Cos
Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det Diag
Diagflat Diagonal Diff Digitize Divide DivideNoNan DotProductAttention Dsplit Dstack Eig Eigh
Einsum ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1
ExtractPatches ExtractSequences Fabs FFT FFT2 Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod
Fold Full FullLike GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater GreaterEqual HardShrink
HardSigmoid HardSilu HardTanh Heaviside Histogram Hsplit Hstack HSVToRGB Hypot I0 IFFT2 Imag Inner
InTopK Inv IRFFT Isclose Isfinite IsIn Isinf Isnan Isneginf Isposinf Isreal ISTFT Kron LayerNorm
Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 Logaddexp Logaddexp2
Logdet LogicalAnd LogicalNot LogicalOr LogicalXor LogSigmoid LogSoftmax Logspace Logsumexp Lstsq
LuFactor MapCoordinates Matmul MatrixRank Max MaxPool Mean Median Meshgrid Min Mod Moments
Moveaxis MultiHot Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin
Nanpercentile Nanprod Nanquantile Nanstd Nansum NanToNum Nanvar Ndim Negative Nextafter Nonzero
Norm Normalize NotEqual OneHot OnesLike Outer Pad PadImages Percentile PerspectiveTransform Pinv
Polar Power Prod PSNR Ptp Qr Quantile Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat
Resize RFFT RGBToGrayscale RGBToHSV RightShift RMSNorm Roll Rot90 Round Rsqrt SaturateCast
ScaleAndTranslate Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin SegmentProd
SegmentReduction SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc Sinh Size
Slice SliceUpdate Slogdet SobelEdges Softplus SoftShrink Softsign Solve SolveTriangular Sort
SpaceToDepth Sparsemax SparsePlus SparseSigmoid Split Sqrt Square Squareplus Squeeze SSIM Stack
Std STFT StopGradient Sum SVD Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold
Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex Unstack
Vander Var Vdot View ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
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
        if registered in OWN and named.get("config") == registered:
            return None
        return _judge_function(named.get("config"), module)
    if module is not None and module != "keras" and not module.startswith("keras."):
        return f"{name} of the module {module}"
    if registered in OWN:
        return None
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
