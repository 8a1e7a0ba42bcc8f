enum { ROWS = 16 }; /* rows of weights whose sums are computed before they are scaled: each loop becomes vectors */
