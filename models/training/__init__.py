"""`python train.py`: data → model.fit → scores → export → verification → report, one job a file."""
