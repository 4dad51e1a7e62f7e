// kernels of pbe-gpu
