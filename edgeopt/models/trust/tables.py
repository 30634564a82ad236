"""Closed tables of what computes and does nothing else: functions and operators of TensorFlow, foreign layers."""

from __future__ import annotations

import re

from ..graph.tf_symbols import TF_SYMBOLS


def _words(prefix: str, text: str) -> frozenset[str]:
    return frozenset(prefix + word for word in text.split())


# What a `TFOpLambda` layer may call, by the name under which TensorFlow exports it (without `compat.v1.`). Nothing here
# takes a function, reads a file or keeps a state.
PURE_FUNCTIONS: frozenset[str] = frozenset().union(
    TF_SYMBOLS,
    _words("__operators__.", "add eq getitem ne ragged_getitem"),
    _words("", """
        abs acos acosh add add_n argmax argmin argsort as_string asin asinh atan atan2 atanh batch_gather batch_to_space
        batch_to_space_nd bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to cast ceil
        clip_by_global_norm clip_by_norm clip_by_value complex concat conj constant convert_to_tensor cos cosh cumprod
        cumsum depth_to_space diag diag_part div div_no_nan divide dtypes.cast dtypes.complex dtypes.saturate_cast
        dynamic_partition dynamic_stitch edit_distance eig eigvals einsum ensure_shape equal erf erfc exp expand_dims
        expm1 extract_image_patches extract_volume_patches eye fill floor floor_div floordiv floormod
        gather gather_nd greater greater_equal histogram_fixed_width histogram_fixed_width_bins identity identity_n
        imag invert_permutation is_finite is_inf is_nan less less_equal lgamma linspace lin_space log log1p log_sigmoid
        logical_and logical_not logical_or logical_xor matmul matrix_band_part matrix_diag matrix_diag_part
        matrix_set_diag matrix_transpose maximum meshgrid minimum mod multiply negative no_op norm not_equal one_hot
        ones ones_like pad parallel_stack pow range rank real realdiv reciprocal reduce_all reduce_any
        reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse
        reverse_sequence reverse_v2 rint roll round rsqrt saturate_cast scalar_mul scatter_nd searchsorted
        segment_max segment_mean segment_min segment_prod segment_sum sequence_mask shape shape_n sigmoid sign sin sinh
        size slice sort space_to_batch space_to_batch_nd space_to_depth split sqrt square squared_difference squeeze
        stack stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_max
        tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile to_double to_float to_int32
        to_int64 trace transpose truediv truncatediv truncatemod unique unique_with_counts unravel_index
        unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sum
        unstack where zeros zeros_like"""),
    _words("math.", """
        abs accumulate_n acos acosh add add_n angle approx_max_k approx_min_k argmax argmin asin asinh atan atan2 atanh
        bessel_i0 bessel_i0e bessel_i1 bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh count_nonzero
        cumprod cumsum cumulative_logsumexp digamma divide divide_no_nan equal erf erfc erfcinv erfinv exp expm1 floor
        floordiv floormod greater greater_equal igamma igammac imag in_top_k invert_permutation is_finite is_inf is_nan
        is_non_decreasing is_strictly_increasing l2_normalize lbeta less less_equal lgamma log log1p log_sigmoid
        log_softmax logical_and logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan ndtri
        negative nextafter not_equal polygamma polyval pow real reciprocal reciprocal_no_nan reduce_all reduce_any
        reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum
        reduce_variance rint round rsqrt scalar_mul segment_max segment_mean segment_min segment_prod segment_sum
        sigmoid sign sin sinh softmax softplus softsign sqrt square squared_difference subtract tan tanh top_k truediv
        unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod
        unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py xlogy zero_fraction zeta"""),
    _words("math.special.", """
        bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 bessel_k0 bessel_k0e bessel_k1 bessel_k1e
        bessel_y0 bessel_y1 dawsn expint fresnel_cos fresnel_sin spence"""),
    _words("nn.", """
        atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d avg_pool3d batch_normalization
        batch_norm_with_global_normalization bias_add conv1d conv1d_transpose conv2d conv2d_backprop_input
        conv2d_transpose conv3d conv3d_transpose conv_transpose convolution crelu depth_to_space depthwise_conv2d
        depthwise_conv2d_native dilation2d dropout elu embedding_lookup embedding_lookup_sparse erosion2d
        fused_batch_norm gelu in_top_k l2_loss l2_normalize leaky_relu local_response_normalization log_softmax lrn
        max_pool max_pool1d max_pool2d max_pool3d max_pool_with_argmax moments normalize_moments pool relu relu6
        resize_bilinear safe_embedding_lookup_sparse selu separable_conv2d sigmoid sigmoid_cross_entropy_with_logits
        silu softmax softmax_cross_entropy_with_logits softplus softsign space_to_batch space_to_depth
        sparse_softmax_cross_entropy_with_logits sufficient_statistics swish tanh top_k
        weighted_cross_entropy_with_logits weighted_moments zero_fraction"""),
    _words("linalg.", """
        adjoint band_part cholesky cholesky_solve cross det diag diag_part eig eigh eigvals eigvalsh einsum expm eye
        global_norm inv l2_normalize logdet logm lstsq lu matmul matrix_rank matrix_transpose matvec norm normalize
        pinv qr set_diag slogdet solve sqrtm svd tensor_diag tensor_diag_part tensordot trace transpose
        triangular_solve tridiagonal_matmul tridiagonal_solve"""),
    _words("image.", """
        adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation central_crop
        combined_non_max_suppression convert_image_dtype crop_and_resize crop_to_bounding_box extract_image_patches
        extract_patches flip_left_right flip_up_down grayscale_to_rgb hsv_to_rgb image_gradients non_max_suppression
        non_max_suppression_overlaps non_max_suppression_padded non_max_suppression_with_scores pad_to_bounding_box
        per_image_standardization psnr random_brightness random_contrast random_flip_left_right random_flip_up_down
        random_hue random_saturation resize resize_area resize_bicubic resize_bilinear resize_image_with_crop_or_pad
        resize_image_with_pad resize_images resize_nearest_neighbor resize_with_crop_or_pad resize_with_pad
        rgb_to_grayscale rgb_to_hsv rgb_to_yiq rgb_to_yuv rot90 sobel_edges ssim ssim_multiscale total_variation
        transpose yiq_to_rgb yuv_to_rgb"""),
    _words("signal.", """
        dct fft fft2d fft3d fftshift frame hamming_window hann_window idct ifft ifft2d ifft3d ifftshift inverse_mdct
        irfft irfft2d irfft3d kaiser_window linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms
        overlap_and_add rfft rfft2d rfft3d vorbis_window"""),
    _words("random.", """
        categorical gamma normal poisson shuffle stateless_normal stateless_uniform truncated_normal uniform"""),
    _words("bitwise.", "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift"),
    _words("quantization.", """
        dequantize fake_quant_with_min_max_args fake_quant_with_min_max_vars fake_quant_with_min_max_vars_per_channel
        quantize quantize_and_dequantize quantize_and_dequantize_v2"""),
    _words("sparse.", """
        from_dense reduce_max reduce_sum reorder reshape softmax sparse_dense_matmul to_dense transpose"""),
    _words("strings.", """
        as_string bytes_split join length lower ngrams reduce_join regex_full_match regex_replace split strip substr
        to_hash_bucket to_hash_bucket_fast to_hash_bucket_strong to_number unicode_decode unicode_encode unicode_split
        upper"""),
)  # fmt: skip

# What a `TensorFlowOpLayer` may run, by the name of the operator.
PURE_OPERATORS: frozenset[str] = _words("", """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs
    BroadcastTo Bucketize Cast Ceil ClipByValue CombinedNonMaxSuppression Complex ComplexAbs Concat ConcatV2 Conj Const
    Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross Cumprod Cumsum
    CumulativeLogsumexp DenseBincount DepthToSpace DepthwiseConv2dNative Dequantize Diag DiagPart Dilation2D Div
    DivNoNan DynamicPartition DynamicStitch Einsum Elu EnsureShape Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims
    Expm1 ExtractImagePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FFT
    FFT2D FFT3D Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2
    Greater GreaterEqual HSVToRGB IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D Identity IdentityN Imag Inv Invert
    InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu LeftShift Less LessEqual Lgamma LinSpace Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2
    MatrixSetDiagV3 Max MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Mul
    MulNoNan Neg NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    NotEqual OneHot OnesLike Pack Pad PadV2 Pow Prod QuantizeAndDequantize QuantizeAndDequantizeV2
    QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 RFFT RFFT2D RFFT3D RGBToHSV Range Rank Real RealDiv
    Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor Reverse ReverseSequence
    ReverseV2 RightShift Rint Roll Round Rsqrt ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum
    Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToBatchND
    SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tan Tanh
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate Tile TopK TopKV2 Transpose
    TruncateDiv TruncateMod Unique Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum Where Xdivy Xlog1py Xlogy ZerosLike""")  # fmt: skip

# Methods and properties of ragged tensors, for tf_keras' `ClassMethod`, `InstanceMethod` and `InstanceProperty`.
RAGGED_ATTRIBUTES: frozenset[str] = _words("", """
    bounding_shape dtype flat_values from_nested_row_lengths from_nested_row_splits from_nested_value_rowids
    from_row_lengths from_row_limits from_row_splits from_row_starts from_sparse from_tensor from_uniform_row_length
    from_value_rowids merge_dims nested_row_lengths nested_row_splits nested_value_rowids nrows ragged_rank row_lengths
    row_limits row_splits row_starts shape to_sparse to_tensor uniform_row_length value_rowids values with_flat_values
    with_values""")  # fmt: skip

TYPE_SPECS: frozenset[str] = _words("", "IndexedSlicesSpec RaggedTensorSpec SparseTensorSpec TensorSpec")

# Modules of edgeopt, TFMOT and TensorFlow, and their classes that model files hold.
_TFMOT = r"tensorflow_model_optimization\.python\.core\."
_FOREIGN = tuple(
    (re.compile(module), re.compile(name))
    for module, name in (
        (
            r"edgeopt\.passes\.qat\.(layers|weighted)",
            "(edgeopt>)?Quantized(Activation|Affine|Layer|Merge|Tensor|Weights)",
        ),
        (r"edgeopt\.models\.graph\.tf_objects", r"(edgeopt>)?(KerasOperation|keras3_\w+)"),
        (
            _TFMOT + r"quantization\.keras\.([a-z0-9_]+\.)*[a-z0-9_]+",
            r"Default(8|N)Bit\w*(QuantizeConfig(RNN)?|Quantizer)|(Prune|Cluster)Preserve\w*Quantizer|"
            r"(AllValues|Fixed|LastValue|MovingAverage|No)Quantizer|NoOpActivation|(Fixed|NoOp)QuantizeConfig|"
            r"OutputOnlyConfig|Quantize(Annotate|AwareActivation|Layer|Wrapper|WrapperV2)",
        ),
        (_TFMOT + r"sparsity\.keras\.[a-z0-9_]+", "ConstantSparsity|PolynomialDecay|PruneLowMagnitude"),
        (_TFMOT + r"clustering\.keras\.[a-z0-9_]+", "ClusterWeights(RNN)?"),
        (
            r"tensorflow\.python\.ops\.init_ops(_v2)?",
            "Constant|GlorotNormal|GlorotUniform|Identity|Ones|Orthogonal|RandomNormal|RandomUniform|TruncatedNormal|"
            "VarianceScaling|Zeros",
        ),
    )
)


def is_foreign(module: str | None, name: str) -> bool:
    """Whether a class or function is edgeopt's own, TFMOT's, or an initialiser of TensorFlow.

    Without a module (the older formats) it is looked up by its name, in the table of the layer around it.
    """
    return any((module is None or place.fullmatch(module)) and known.fullmatch(name) for place, known in _FOREIGN)
