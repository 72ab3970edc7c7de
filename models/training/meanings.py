"""What the metrics of a training mean, in words: names as TRL users know them."""

from __future__ import annotations

from dataclasses import dataclass

from models.words import N_, _


@dataclass(frozen=True)
class Meaning:
    """What a metric is: a title, one or two sentences, whether higher is better (None: neither)."""

    title: str
    text: str
    higher: bool | None = None


MEANINGS: dict[str, Meaning] = {
    "loss": Meaning(N_("Loss"), N_("What is minimised, per predicted token or per pair, in nats."), False),
    "eval_loss": Meaning(N_("Loss, held out"), N_("The same on data that is not trained on; rising while the loss falls means overfitting."), False),
    "eval_perplexity": Meaning(N_("Perplexity, held out"), N_("exp of the mean loss in nats per token."), False),
    "learning_rate": Meaning(N_("Learning rate"), N_("What the schedule gave this step.")),
    "grad_norm": Meaning(N_("Gradient norm"), N_("Global L2 norm before clipping; spikes come before instability.")),
    "targets_per_second": Meaning(N_("Speed"), N_("Predicted tokens (or pairs) per second."), True),
    "accuracy": Meaning(N_("Pair accuracy"), N_("Share of pairs whose better answer gets the higher reward; 0.5 is chance."), True),
    "eval_accuracy": Meaning(N_("Pair accuracy, held out"), N_("The same on pairs that are not trained on."), True),
    "margin": Meaning(N_("Margin"), N_("Mean reward of the better answer minus that of the worse one."), True),
    "mean_reward": Meaning(N_("Mean reward"), N_("Mean of all rewards; it may drift, since only differences are trained.")),
    "rewards/accuracies": Meaning(N_("Pair accuracy"), N_("Share of pairs whose chosen answer gained more against the reference than the rejected one."), True),
    "rewards/margins": Meaning(N_("Margin"), N_("β times how much more the chosen answer gained against the reference than the rejected one."), True),
    "rewards/chosen": Meaning(N_("Reward, chosen"), N_("β (log π − log π_ref) of chosen answers; falling for both means that probability flows elsewhere.")),
    "rewards/rejected": Meaning(N_("Reward, rejected"), N_("β (log π − log π_ref) of rejected answers.")),
    "logps/chosen": Meaning(N_("Log-probability, chosen"), N_("Summed over the answer, in nats.")),
    "logps/rejected": Meaning(N_("Log-probability, rejected"), N_("Summed over the answer, in nats.")),
    "objective/kl": Meaning(N_("KL to the reference"), N_("Σ log π − log π_ref over an answer, in nats; clearly below 0 means that answers are not scored as they were sampled.")),
    "objective/kl_token": Meaning(N_("KL of a token"), N_("Mean estimate of the KL to the reference per token, in nats; times the length it is that of an answer.")),
    "objective/entropy": Meaning(N_("Entropy"), N_("Of the policy per token, in nats; near 0 nothing new is tried any more.")),
    "objective/rlhf_reward": Meaning(N_("Reward minus KL"), N_("What PPO maximises: the score minus β KL."), True),
    "objective/paid": Meaning(N_("Score"), N_("Mean score of the sampled answers, as it was paid."), True),
    "objective/paid_std": Meaning(N_("Spread of the scores"), N_("Standard deviation of the scores; near 0 there is nothing to tell answers apart by.")),
    "objective/groups_alike": Meaning(N_("Groups without a difference"), N_("Share of prompts whose answers were all paid the same: they teach nothing."), False),
    "objective/scores": Meaning(N_("Reward model's score"), N_("Mean score of the sampled answers by the reward model."), True),
    "objective/beta": Meaning(N_("β"), N_("Price of one nat of KL.")),
    "judge/score": Meaning(N_("Judge's score"), N_("Score by a judge that the policy is not paid by; the reward rising while this falls is reward hacking."), True),
    "judge/agreement": Meaning(N_("Agreement"), N_("How well the learned reward agrees with the judge."), True),
    "val/eos_rate": Meaning(N_("Ended answers"), N_("Share of answers that ended by themselves instead of being cut."), True),
    "val/length": Meaning(N_("Length"), N_("Tokens of an answer; a reward that pays for length shows here.")),
    "val/ratio": Meaning(N_("Ratio"), N_("Mean of π / π_old over tokens; 1 in the first epoch.")),
    "val/ratio_var": Meaning(N_("Variance of the ratio"), N_("Grows as the policy moves away from the one that sampled.")),
    "val/explained_variance": Meaning(N_("Explained variance"), N_("How much of the returns the value head foresees; 1 is all."), True),
    "policy/approxkl_avg": Meaning(N_("KL of the update"), N_("½ mean (log π − log π_old)² over tokens.")),
    "policy/clipfrac_avg": Meaning(N_("Clipped share"), N_("Share of tokens whose ratio was clipped; above about 0.3 the updates are too large.")),
    "loss/policy_avg": Meaning(N_("Policy loss"), N_("Clipped surrogate; near 0 in the first epoch, its size says little.")),
    "loss/value_avg": Meaning(N_("Value loss"), N_("½ (V − R)², clipped."), False),
}  # fmt: skip


def meaning(metric: str) -> Meaning:
    """Return what a metric means, in the chosen language; an unknown one is called by its name."""
    found = MEANINGS.get(metric)
    if found is None and metric.startswith("eval_") and metric.removeprefix("eval_") in MEANINGS:
        same = meaning(metric.removeprefix("eval_"))
        return Meaning(_("{title}, held out").format(title=same.title), same.text, same.higher)
    return Meaning(_(found.title), _(found.text), found.higher) if found else Meaning(metric, "")
