"""A deep Q-network learns to balance a pole: Mnih et al. 2015, with the double Q-learning of van Hasselt et al. 2016.

    python examples/balance_pole.py [seed]

The pole is that of Barto, Sutton & Anderson 1983: a cart on a track is pushed left or right fifty times a second. An
episode ends after 500 pushes, or when the pole leans by more than 12 degrees or the cart has gone 2.4 m. A fall counts
-1, so the values of the network are from -1 to 0. Sixteen poles are pushed at a time, which suits NumPy.
"""

import sys

import numpy as np

import stoop

POLES, BATCH, BUFFER, GAMMA, PUSHES = 16, 128, 50_000, 0.99, 500
START, LIMITS = 0.05, np.array([2.4, np.inf, np.radians(12), np.inf])


def push(states, actions):
    """Return the states (position, speed, angle, its speed) 20 ms later; action 0 pushes left, 1 right."""
    _, speed, angle, turning = states.T
    sine, cosine = np.sin(angle), np.cos(angle)
    pushed = (20.0 * actions - 10.0 + 0.05 * turning**2 * sine) / 1.1
    turn = (9.8 * sine - cosine * pushed) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    return states + 0.02 * np.stack([speed, pushed - 0.05 * turn * cosine / 1.1, turning, turn], axis=1)


def mean_return(model, rng, episodes=20):
    """Return the mean number of pushes that the pole stands, pushed as the model thinks best."""
    states = rng.uniform(-START, START, (episodes, 4))
    standing, total = np.ones(episodes, bool), 0
    for _ in range(PUSHES):
        states = push(states, model.predict(states).argmax(axis=1))
        standing &= (np.abs(states) <= LIMITS).all(axis=1)
        total += standing.sum()
    return total / episodes


def learn(seed, updates=60_000):
    """Return a network, once it balances a hundred poles or after so many updates, and its mean return."""
    rng = np.random.default_rng(seed)
    layers = [stoop.Dense(64, activation="relu"), stoop.Dense(64, activation="relu"), stoop.Dense(2)]
    model = stoop.Model(layers, input_dim=4, seed=seed)
    target = model.copy()
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.Adam(1e-3), clip_norm=10.0)
    before, after = np.zeros((2, BUFFER, 4), np.float32)
    taken, fell = np.zeros(BUFFER, int), np.zeros(BUFFER, np.float32)
    states, age, each = rng.uniform(-START, START, (POLES, 4)), np.zeros(POLES, int), np.arange(BATCH)
    for update in range(updates):
        greedy = rng.random(POLES) > max(0.02, 1.0 - update / 2000)
        actions = np.where(greedy, model.predict(states).argmax(axis=1), rng.integers(2, size=POLES))
        place = np.arange(update * POLES, (update + 1) * POLES) % BUFFER
        before[place], taken[place] = states, actions
        states, age = push(states, actions), age + 1
        down = (np.abs(states) > LIMITS).any(axis=1)
        after[place], fell[place] = states, down
        ended = down | (age == PUSHES)
        states[ended], age[ended] = rng.uniform(-START, START, (ended.sum(), 4)), 0

        rows = rng.integers(min((update + 1) * POLES, BUFFER), size=BATCH)
        best = model.predict(after[rows]).argmax(axis=1)
        wanted = -fell[rows] + GAMMA * (1.0 - fell[rows]) * target.predict(after[rows])[each, best]
        values = trainer.forward(before[rows])
        gradient = np.zeros_like(values)  # of the Huber loss, and only of the action that was taken
        gradient[each, taken[rows]] = np.clip(values[each, taken[rows]] - wanted, -1.0, 1.0) / BATCH
        trainer.backward(gradient)
        trainer.apply()
        target.soft_update(model, 0.01)
        if update % 500 == 499 and (reached := mean_return(model, rng, episodes=100)) == PUSHES:
            break
    return model, reached


if __name__ == "__main__":
    model, reached = learn(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"the pole stands for {reached:.0f} of {PUSHES} pushes")
