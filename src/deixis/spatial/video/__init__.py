"""What a video showed, kept: tracks through occlusion, a ledger of things with their history, events, answers with citations.

Knows boxes over time, whoever found them. Does not know pictures' files, models or prompts, and imports no torch.
"""
