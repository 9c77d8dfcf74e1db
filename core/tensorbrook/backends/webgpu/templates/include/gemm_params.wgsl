// The parameters of batched matrix products, out[i] = op(a[i]) @ op(b[i]).

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

override BATCH: u32;
override M: u32;
override N: u32;
override K: u32;
override STRIDE_A: u32;                  // elements from one a[i] to the next
override STRIDE_B: u32;
