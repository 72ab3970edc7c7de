"""The words of a question about salience: methods, targets, baselines. No numpy, so that the help is quick."""

METHODS = ("gradient_x_input", "integrated_gradients", "occlusion", "lime", "kernel_shap")
GRADIENTS = ("gradient_x_input", "integrated_gradients")
"""Methods that need gradients."""
STATISTICS = ("logit", "logprob", "probability")
BASELINES = ("auto", "mean", "zero", "token")
REDUCTIONS = ("sum", "norm")
ACTUAL, TOP = "", "<top>"
TEXTS = ("token", "contrast", "statistic", "baseline", "reduction", "unit")
NUMBERS = ("steps", "samples", "seed")
"""Fields of a question that can be written as ``name=value``."""
