/// The functions of scipy-openblas32 that are used here. Its names have a prefix, so that they do not clash
/// with ours.
#pragma once

extern "C" {
void scipy_cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float,
                       float *, int);
void scipy_cblas_dgemm(int, int, int, int, int, int, double, const double *, int, const double *, int, double,
                       double *, int);
void scipy_cblas_cgemm(int, int, int, int, int, int, const void *, const void *, int, const void *, int,
                       const void *, void *, int);
void scipy_cblas_sgemv(int, int, int, int, float, const float *, int, const float *, int, float, float *,
                       int);
void scipy_openblas_set_num_threads(int);
}
