// The exponentially weighted average of a sequence.
#include <stoop/averages.hpp>

namespace stoop::inline v0_1 {

// With the bias corrected: average_t = average_{t-1} + (1 - beta) / (1 - beta^t) * (x_t - average_{t-1}), which is the
// same as a division by 1 - beta^t but leaves constants as they are.
void ewa(MatrixView<const double> x, double beta, bool bias_correction, std::span<double> out) {
  double weight = 0.0;  // 1 - beta^t
  for (Index t = 0; t < x.rows; ++t) {
    weight = beta * weight + (1.0 - beta);
    const double* row = x.data + t * x.stride;
    double* average = out.data() + t * x.cols;
    for (Index j = 0; j < x.cols; ++j) {
      const double last = t == 0 ? 0.0 : average[j - x.cols];
      if (!bias_correction) {
        average[j] = beta * last + (1.0 - beta) * row[j];
      } else {
        average[j] = t == 0 ? row[j] : last + (1.0 - beta) / weight * (row[j] - last);
      }
    }
  }
}

}  // namespace stoop
