"""The names of the scorecard's numbers: gates are read against them before anything is measured, tables show them in this order."""

METRICS = (
    "reasoning", "reasoning_above_chance", "arithmetic", "off_manifold", "open_book", "distracted", "counterfactual", "basics", "lookup",
    "recall", "recall_generated", "recall_never_trained", "recall_teacher_only", "forced_choice", "forced_choice_floor",
    "recall_four_bit", "recall_relearned_others", "recall_relearned_taught", "recall_prompts",
    "abstention", "false_abstention", "hallucination", "honesty_index", "auroc", "ece", "risk_at_80",
    "base_full", "base_deleted_abstains", "base_off_leak", "base_off_abstains", "base_swapped_follows", "retrieval_closure",
    "lookup_need", "lookup_needless", "lookup_needless_given", "lookup_needless_reasoning", "youden_j",
    "given_with_tools", "reasoning_with_tools", "multi_hop", "multi_hop_deleted_abstains", "multi_hop_off_leak",
    "python_arithmetic", "python_off",
    "pass_gap", "nines", "coverage_of_teacher", "distinct_answers", "template_collapse",
    "need_slope", "tokens_per_correct", "unparsed", "truncated",
)  # fmt: skip
SHARES = ("reasoning_retained", "recall_retained")  # of the headline
PARTED = (*METRICS, "accuracy_under_budget", "pass_at_k", "harness")  # may have parts: reasoning/FAMILY, recall/exposure_N, harness/TASK
