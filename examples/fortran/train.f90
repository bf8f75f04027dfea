! Trains a network to tell three rings apart, saves it, loads it and predicts with it, through the C interface.
!   gfortran train.f90 $(pkg-config --static --libs stoop) -o train && ./train rings.safetensors
! Fortran stores columns one after the other, so a matrix of samples is x(inputs, samples): the same memory as in C.
module stoop
  use, intrinsic :: iso_c_binding
  implicit none

  interface
    function stoop_last_error() bind(c)
      import :: c_ptr
      type(c_ptr) :: stoop_last_error
    end function
    function stoop_model_create(config_json) bind(c)
      import :: c_ptr, c_char
      character(kind=c_char), intent(in) :: config_json(*)
      type(c_ptr) :: stoop_model_create
    end function
    function stoop_model_load(path) bind(c)
      import :: c_ptr, c_char
      character(kind=c_char), intent(in) :: path(*)
      type(c_ptr) :: stoop_model_load
    end function
    function stoop_model_save(model, path) bind(c)
      import :: c_ptr, c_char, c_int
      type(c_ptr), value :: model
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int) :: stoop_model_save
    end function
    function stoop_model_predict(model, x, rows, out) bind(c)
      import :: c_ptr, c_float, c_int64_t, c_int
      type(c_ptr), value :: model
      real(c_float), intent(in) :: x(*)
      integer(c_int64_t), value :: rows
      real(c_float), intent(out) :: out(*)
      integer(c_int) :: stoop_model_predict
    end function
    subroutine stoop_model_free(model) bind(c)
      import :: c_ptr
      type(c_ptr), value :: model
    end subroutine
    function stoop_trainer_create(model, config_json) bind(c)
      import :: c_ptr, c_char
      type(c_ptr), value :: model
      character(kind=c_char), intent(in) :: config_json(*)
      type(c_ptr) :: stoop_trainer_create
    end function
    function stoop_trainer_fit(trainer, x, rows, classes, values, options_json) bind(c)
      import :: c_ptr, c_float, c_int64_t, c_int32_t, c_char, c_int
      type(c_ptr), value :: trainer
      real(c_float), intent(in) :: x(*)
      integer(c_int64_t), value :: rows
      integer(c_int32_t), intent(in) :: classes(*)
      type(c_ptr), value :: values
      character(kind=c_char), intent(in) :: options_json(*)
      integer(c_int) :: stoop_trainer_fit
    end function
    function stoop_trainer_evaluate(trainer, x, rows, classes, values, loss, accuracy) bind(c)
      import :: c_ptr, c_float, c_int64_t, c_int32_t, c_double, c_int
      type(c_ptr), value :: trainer
      real(c_float), intent(in) :: x(*)
      integer(c_int64_t), value :: rows
      integer(c_int32_t), intent(in) :: classes(*)
      type(c_ptr), value :: values
      real(c_double), intent(out) :: loss, accuracy
      integer(c_int) :: stoop_trainer_evaluate
    end function
    subroutine stoop_trainer_free(trainer) bind(c)
      import :: c_ptr
      type(c_ptr), value :: trainer
    end subroutine
  end interface

contains

  ! Prints the message of the library and ends the program unless the call was fine.
  subroutine require(fine, what)
    logical, intent(in) :: fine
    character(*), intent(in) :: what
    character(kind=c_char), pointer :: message(:)
    integer :: i
    if (fine) return
    call c_f_pointer(stoop_last_error(), message, [4096])
    write (*, '(2a)', advance='no') what, ': '
    do i = 1, size(message)
      if (message(i) == c_null_char) exit
      write (*, '(a)', advance='no') message(i)
    end do
    write (*, *)
    stop 1
  end subroutine

end module

program train
  use stoop
  implicit none
  integer, parameter :: samples = 3000, inputs = 2, outputs = 3
  character(*), parameter :: layers = '{"input_dim": 2, "layers": [' // &
    '{"type": "dense", "units": 64, "activation": "relu"}, {"type": "dense", "units": 64, "activation": "relu"},' // &
    '{"type": "dense", "units": 3}]}'
  real(c_float) :: x(inputs, samples), logits(outputs)
  integer(c_int32_t) :: y(samples)
  real(c_double) :: loss, accuracy
  type(c_ptr) :: model, trainer
  character(4096) :: path
  integer :: i, n
  integer, allocatable :: seed(:)

  path = 'rings.safetensors'
  if (command_argument_count() > 0) call get_command_argument(1, path)
  call random_seed(size=n)
  allocate (seed(n))
  seed = 1
  call random_seed(put=seed)
  call random_number(x)
  x = 2 * x - 1
  do i = 1, samples
    y(i) = count(norm2(x(:, i)) > [0.5, 0.9])
  end do

  model = stoop_model_create(layers // c_null_char)
  call require(c_associated(model), 'model')
  trainer = stoop_trainer_create(model, '{"optimizer": {"type": "adam", "learning_rate": 0.003}}' // c_null_char)
  call require(c_associated(trainer), 'trainer')
  call require(stoop_trainer_fit(trainer, x, int(samples, c_int64_t), y, c_null_ptr, &
    '{"epochs": 20, "batch_size": 64}' // c_null_char) == 0, 'fit')
  call require(stoop_trainer_evaluate(trainer, x, int(samples, c_int64_t), y, c_null_ptr, loss, accuracy) == 0, &
    'evaluate')
  print '(a, f6.4, a, f5.3)', 'loss ', loss, ', accuracy ', accuracy
  call require(stoop_model_save(model, trim(path) // c_null_char) == 0, 'save')
  call stoop_trainer_free(trainer)
  call stoop_model_free(model)

  model = stoop_model_load(trim(path) // c_null_char)
  call require(c_associated(model), 'load')
  call require(stoop_model_predict(model, [0.0_c_float, 0.0_c_float], 1_c_int64_t, logits) == 0, 'predict')
  print '(a, i0)', 'the centre is in ring ', maxloc(logits, 1) - 1
  call stoop_model_free(model)
  if (maxloc(logits, 1) /= 1 .or. accuracy < 0.95) stop 1
end program
