"""Every number of the RLHF table, and the bandit whose optimum is known in closed form."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.training import losses  # noqa: E402


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- reward model ---------------------------------------------------------------------------------------------------


def test_bradley_terry_by_hand():
    assert losses.bradley_terry(t(1.0), t(1.0)).item() == pytest.approx(math.log(2), abs=1e-9)
    assert losses.bradley_terry(t(1.0), t(0.0)).item() == pytest.approx(0.313262, abs=1e-6)
    assert losses.bradley_terry(t(1.0), t(0.0), margin=1.0).item() == pytest.approx(0.693147, abs=1e-6)
    assert losses.bradley_terry(t(2.0), t(1.0), centring=0.01).item() == pytest.approx(0.313262 + 0.09, abs=1e-6)


def test_bradley_terry_does_not_overflow():
    assert losses.bradley_terry(t(-500.0), t(500.0)).item() == pytest.approx(1000.0)


def test_shapes_that_differ_are_refused_with_both():
    with pytest.raises(ValueError, match=r"\(2,\).*\(1,\)"):
        losses.bradley_terry(t(1.0, 2.0), t(1.0))
    with pytest.raises(ValueError, match="shapes differ"):
        losses.kl_k1(t(1.0, 2.0), t(1.0))
    with pytest.raises(ValueError, match="score"):
        losses.token_rewards(t(1.0), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), 0.1)


# --- KL -------------------------------------------------------------------------------------------------------------


def test_kl_estimates_by_hand():
    policy, reference = t(0.5, 0.5).log(), t(0.25, 0.75).log()
    k1, k3 = losses.kl_k1(policy, reference), losses.kl_k3(policy, reference)
    assert k1.tolist() == pytest.approx([0.693147, -0.405465], abs=1e-6)
    assert k3.tolist() == pytest.approx([0.193147, 0.094535], abs=1e-6)
    exact = 0.143841
    assert (policy.exp() * k1).sum().item() == pytest.approx(exact, abs=1e-6)
    assert (policy.exp() * k3).sum().item() == pytest.approx(exact, abs=1e-6)
    k2 = 0.5 * k1**2
    assert (policy.exp() * k2).sum().item() == pytest.approx(0.161214, abs=1e-6)  # biased: why we do not use it


def test_kl_of_equal_policies_is_exactly_zero():
    same = torch.randn(5, generator=torch.Generator().manual_seed(0))
    assert losses.kl_k1(same, same).tolist() == [0.0] * 5
    assert losses.kl_k3(same, same).tolist() == [0.0] * 5


def test_rewards_add_up_to_score_minus_kl_and_the_score_is_at_the_last_token():
    kl = t(0.1, 0.2, 0.4, 0.3, 0.5, 9.0).reshape(2, 3)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    rewards = losses.token_rewards(t(2.0, -1.0), kl, mask, beta=0.5)
    assert rewards.sum(-1).tolist() == pytest.approx([2.0 - 0.5 * 0.7, -1.0 - 0.5 * 0.8])
    assert rewards[0].tolist() == pytest.approx([-0.05, -0.1, 1.8])
    assert rewards[1].tolist() == pytest.approx([-0.15, -1.25, 0.0])


def test_an_answer_without_tokens_is_refused():
    with pytest.raises(ValueError, match="no token"):
        losses.token_rewards(t(1.0), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), 0.1)


# --- advantages -----------------------------------------------------------------------------------------------------


def test_gae_by_hand():
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantages, returns = losses.gae(t(0, 0, 1)[None], t(0.5, 0.4, 0.3)[None], mask, 1.0, 0.95)
    assert advantages[0].tolist() == pytest.approx([0.43675, 0.565, 0.7])
    assert returns[0].tolist() == pytest.approx([0.93675, 0.965, 1.0])


def test_gae_ignores_what_stands_in_padding():
    mask = torch.tensor([[True, True, True, False, False]])
    rewards, values = t(0, 0, 1, 77, 77)[None], t(0.5, 0.4, 0.3, 55, 55)[None]
    advantages, returns = losses.gae(rewards, values, mask, 1.0, 0.95)
    assert advantages[0].tolist() == pytest.approx([0.43675, 0.565, 0.7, 0, 0])
    assert returns[0].tolist() == pytest.approx([0.93675, 0.965, 1.0, 0, 0])


def test_whitening_by_hand():
    mask = torch.tensor([False, True, True, False])
    assert losses.whiten(t(1, 2, 3, 4), mask).tolist() == pytest.approx([0, -0.707107, 0.707107, 0], abs=1e-6)
    kept = losses.whiten(t(1, 2, 3, 4), mask, shift_mean=False)
    assert kept[mask].mean().item() == pytest.approx(2.5)
    assert kept[mask].var().item() == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ValueError, match="two values"):
        losses.whiten(t(1, 2), torch.tensor([True, False]))


# --- PPO ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "advantage", "loss"), [(1.5, 1, -1.2), (1.5, -1, 1.5), (0.5, 1, -0.5), (0.5, -1, 0.8)])
def test_policy_clip_by_hand(ratio, advantage, loss):
    got = losses.ppo_policy(t(math.log(ratio)), t(0.0), t(float(advantage)), 0.2)
    assert got.item() == pytest.approx(loss)


def test_value_clip_by_hand():
    assert losses.ppo_value(t(1.0), t(0.5), t(2.0), 0.2).item() == pytest.approx(0.845)


def test_first_epoch_diagnostics_are_null():
    old = torch.randn(7, generator=torch.Generator().manual_seed(1))
    seen = losses.ppo_diagnostics(old.clone(), old)
    assert seen == {"clip_fraction": 0.0, "approxkl": 0.0, "ratio_var": 0.0, "ratio": 1.0}


def test_diagnostics_by_hand():
    seen = losses.ppo_diagnostics(t(math.log(1.5), 0.0), t(0.0, 0.0))
    assert seen["clip_fraction"] == pytest.approx(0.5)
    assert seen["approxkl"] == pytest.approx(0.25 * math.log(1.5) ** 2)
    assert seen["ratio"] == pytest.approx(1.25)
    assert seen["ratio_var"] == pytest.approx(0.125)


def test_adaptive_kl_by_hand():
    assert losses.next_beta(0.15, 100.0, 6.0, 256, 10_000) == pytest.approx(0.150768)
    assert losses.next_beta(0.15, 0.0, 6.0, 256, 10_000) == pytest.approx(0.15 * (1 - 0.2 * 0.0256))
    assert losses.next_beta(0.15, 6.6, 6.0, 256, 10_000) == pytest.approx(0.15 * (1 + 0.1 * 0.0256))


def test_adam_epsilon_of_rl_is_not_the_default():
    """With a gradient of 1e-6 the first step at eps 1e-5 is damped; 1e-8 would go at full speed."""
    from models.training.ppo import PpoSettings

    assert PpoSettings().adam_eps == 1e-5
    steps = {}
    for eps in (1e-8, 1e-5):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.AdamW([weight], lr=1.0, eps=eps, weight_decay=0.0, fused=True)
        weight.grad = torch.full((1,), 1e-6)
        optimizer.step()
        steps[eps] = -weight.item()
    assert steps[1e-8] == pytest.approx(1 / 1.01, rel=1e-3)
    assert steps[1e-5] == pytest.approx(1 / 11, rel=1e-3)


# --- DPO ------------------------------------------------------------------------------------------------------------


def test_dpo_by_hand():
    margin = losses.dpo_margin(t(-10.0), t(-15.0), t(-12.0), t(-14.0))
    assert margin.item() == pytest.approx(3.0)
    assert losses.dpo(margin, 0.1).item() == pytest.approx(0.554355, abs=1e-6)
    assert losses.dpo(margin, 0.1, "ipo").item() == pytest.approx(4.0)
    assert losses.dpo(margin, 0.1, "hinge").item() == pytest.approx(0.7)
    assert losses.dpo(margin * 0).item() == pytest.approx(math.log(2))
    smoothed = losses.dpo(margin, 0.1, smoothing=0.1).item()
    assert smoothed == pytest.approx(0.9 * 0.554355 + 0.1 * 0.854355, abs=1e-6)
    with pytest.raises(ValueError, match="kto"):
        losses.dpo(margin, 0.1, "kto")


def test_accumulated_loss_is_weighted_by_targets():
    assert losses.normalised([t(1, 1, 1, 1).sum(), t(3.0).sum()], [4, 1]).item() == pytest.approx(1.4)
    with pytest.raises(ValueError, match="counts"):
        losses.normalised([t(1.0).sum()], [0])


# --- the bandit: four actions, uniform reference, rewards 0..3 -------------------------------------------------------

REWARDS = t(0, 1, 2, 3)
REFERENCE = torch.full((4,), 0.25, dtype=torch.float64).log()
OPTIMA = {
    1.0: ([0.032059, 0.087144, 0.236883, 0.643914], 2.492653, 0.438757),
    0.5: ([0.002144, 0.015842, 0.117059, 0.864955], 2.844824, 0.930866),
}


def numbers_of(policy):
    expected = (policy * REWARDS).sum().item()
    kl = (policy * losses.kl_k1(policy.log(), REFERENCE)).sum().item()
    return expected, kl


@pytest.mark.parametrize("beta", OPTIMA)
def test_closed_form(beta):
    policy = (REFERENCE + REWARDS / beta).softmax(-1)
    optimum, expected, kl = OPTIMA[beta]
    assert policy.tolist() == pytest.approx(optimum, abs=1e-6)
    assert numbers_of(policy) == pytest.approx((expected, kl), abs=1e-6)
    log_z = torch.logsumexp(REFERENCE + REWARDS / beta, -1).item()
    assert expected - beta * kl == pytest.approx(beta * log_z, abs=1e-5)


def exact_policy_gradient(beta, sign=1.0, steps=150):
    """Ascend E[r] - beta KL with PPO's own policy loss, every action weighted by its probability.

    Steps follow the natural gradient (the gradient by logits divided by the probabilities), which converges evenly.
    """
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        logp = logits.log_softmax(-1)
        old = logp.detach()
        paid = REWARDS - sign * beta * losses.kl_k1(old, REFERENCE)
        advantage = paid - (old.exp() * paid).sum()
        loss = (old.exp() * losses.ppo_policy(logp, old, advantage)).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        with torch.no_grad():
            logits -= 0.2 * gradient / old.exp()
    return logits.detach().softmax(-1)


@pytest.mark.parametrize("beta", OPTIMA)
def test_exact_policy_gradient_finds_the_optimum(beta):
    assert exact_policy_gradient(beta).tolist() == pytest.approx(OPTIMA[beta][0], abs=1e-6)


def test_a_wrong_sign_of_kl_misses_it():
    wrong = exact_policy_gradient(1.0, sign=-1.0, steps=30)
    assert abs(wrong[3].item() - OPTIMA[1.0][0][3]) > 0.2


def test_a_missing_reference_misses_it():
    wrong = exact_policy_gradient(0.0, steps=60)
    assert wrong[3].item() > 0.95


def sampled_ppo(beta, sign=1.0, rollouts=400):
    """Clipped PPO on sampled actions: KL in the reward, GAE, value clip; at the optimum every reward is the same."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    value = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits, value], lr=0.05)
    mask = torch.ones(256, 1, dtype=torch.bool)
    for rollout in range(rollouts):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - rollout / rollouts)
        with torch.no_grad():
            actions = torch.multinomial(logits.softmax(-1), 256, replacement=True, generator=generator)
            old = logits.log_softmax(-1)[actions]
            kl = losses.kl_k1(old, REFERENCE[actions])[:, None]
            rewards = losses.token_rewards(REWARDS[actions], kl, mask, sign * beta)
            old_values = value.detach().clone().expand(256)[:, None]
            advantages, returns = losses.gae(rewards, old_values, mask)
        for _ in range(4):
            logp = logits.log_softmax(-1)[actions]
            policy = losses.ppo_policy(logp, old, advantages[:, 0]).mean()
            fit = losses.ppo_value(value.expand(256), old_values[:, 0], returns[:, 0]).mean()
            optimizer.zero_grad()
            (policy + fit).backward()
            optimizer.step()
    return logits.detach().softmax(-1)


@pytest.mark.parametrize("beta", OPTIMA)
def test_sampled_clipped_ppo_finds_the_optimum(beta):
    assert sampled_ppo(beta).tolist() == pytest.approx(OPTIMA[beta][0], abs=1e-3)


def test_sampled_ppo_with_a_wrong_sign_misses_it():
    assert (sampled_ppo(1.0, sign=-1.0, rollouts=100) - t(*OPTIMA[1.0][0])).abs().max() > 0.2


def dpo_bandit(beta, steps=2000):
    """Minimise the expected DPO loss over all ordered pairs, preferences by Bradley-Terry on the true rewards."""
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    better, worse = torch.tensor(pairs).T
    weight = (REWARDS[better] - REWARDS[worse]).sigmoid()
    weight = weight / weight.sum()
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    curve = []
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.2 * 0.5 ** (20 * step / steps)
        logp = logits.log_softmax(-1)
        margin = losses.dpo_margin(logp[better], logp[worse], REFERENCE[better], REFERENCE[worse])
        loss = (weight * losses.dpo(margin, beta)).sum()
        curve.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return logits.detach().softmax(-1), curve


def test_dpo_on_bradley_terry_preferences_finds_the_optimum():
    policy, curve = dpo_bandit(1.0)
    assert policy.tolist() == pytest.approx(OPTIMA[1.0][0], abs=1e-5)
    assert curve[0] == pytest.approx(0.693147, abs=1e-6)
    assert curve[-1] == pytest.approx(0.444690, abs=1e-5)


def test_dpo_of_half_beta_finds_its_own_optimum():
    assert dpo_bandit(0.5)[0].tolist() == pytest.approx(OPTIMA[0.5][0], abs=1e-4)


def test_raising_beta_lowers_the_final_kl():
    kls = [numbers_of(exact_policy_gradient(beta))[1] for beta in (0.5, 1.0, 2.0)]
    assert kls == sorted(kls, reverse=True)
    assert np.isfinite(kls).all()
