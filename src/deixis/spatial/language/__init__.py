"""Questions and answers in words, English and Chinese: prompts, what a question asks, relation words, values."""
