"""Prepares data with the wrapped numpy alone: nothing is differentiated."""

import sys

import autograd.numpy as np
import autograd.numpy.random as npr

npr.seed(5)
table = npr.randn(200, 6)
table = (table - np.mean(table, axis=0)) / np.std(table, axis=0)
spectrum = np.abs(np.fft.fft(table[:, 0]))
parts = [table[npr.permutation(200)[:32]] for _ in range(6)]
print(len(parts), np.sum(spectrum) > 0, np.array([1.0, 2.0]).shape)
sys.audit("ailab.first_batch")
