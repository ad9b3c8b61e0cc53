"""TFT, without graphs of the features that it traces only to look at them."""

from typing import Any


def tune() -> None:
    """Has TFT trace the features once where it only looks at their graph: it does so five times of a Transform.

    The graph that was looked at last is kept until one is traced to be used. What a look takes off it, the list of
    what is to be replaced by what the analysis found, is put back.

    Once for a process; again it does nothing.
    """
    from tensorflow_transform import impl_helper

    if not isinstance(impl_helper.trace_preprocessing_function, _Traced):
        impl_helper.trace_preprocessing_function = _Traced(impl_helper.trace_preprocessing_function)


class _Traced:
    """`trace_preprocessing_function` of TFT, which keeps the last graph that is only looked at."""

    def __init__(self, original: Any) -> None:
        from tensorflow_transform import analyzer_nodes

        self.original = original
        self._collection = analyzer_nodes.TENSOR_REPLACEMENTS
        # Of what it was traced, what came of it, and what is to be replaced in it.
        self._kept: tuple[Any, Any, Any, Any] | None = None

    def __call__(
        self, preprocessing_fn: Any, input_specs: Any, use_tf_compat_v1: bool, base_temp_dir: Any = None
    ) -> Any:
        if use_tf_compat_v1 or base_temp_dir is not None:
            self._kept = None
            return self.original(preprocessing_fn, input_specs, use_tf_compat_v1, base_temp_dir)
        if self._kept is not None and self._kept[0] is preprocessing_fn and self._kept[1] == input_specs:
            _, _, traced, replaced = self._kept
            traced[0].clear_collection(self._collection)
            for one in replaced:
                traced[0].add_to_collection(self._collection, one)
            return traced
        traced = self.original(preprocessing_fn, input_specs, use_tf_compat_v1, base_temp_dir)
        replaced = traced[0].get_collection(self._collection)
        self._kept = preprocessing_fn, dict(input_specs), traced, replaced
        return traced
