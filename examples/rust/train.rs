// Trains a network to tell three rings apart, saves it, loads it and predicts with it, through the C interface.
//   rustc -L native=PREFIX/lib -l static=stoop -l dylib=stdc++ -l dylib=m train.rs && ./train rings.safetensors
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_double, c_int};
use std::ptr::null;

#[repr(C)]
struct StoopModel {
    _private: [u8; 0],
}
#[repr(C)]
struct StoopTrainer {
    _private: [u8; 0],
}

extern "C" {
    fn stoop_last_error() -> *const c_char;
    fn stoop_model_create(config_json: *const c_char) -> *mut StoopModel;
    fn stoop_model_load(path: *const c_char) -> *mut StoopModel;
    fn stoop_model_save(model: *const StoopModel, path: *const c_char) -> c_int;
    fn stoop_model_input_dim(model: *const StoopModel) -> i64;
    fn stoop_model_output_dim(model: *const StoopModel) -> i64;
    fn stoop_model_predict(model: *const StoopModel, x: *const f32, rows: i64, out: *mut f32) -> c_int;
    fn stoop_model_free(model: *mut StoopModel);
    fn stoop_trainer_create(model: *mut StoopModel, config_json: *const c_char) -> *mut StoopTrainer;
    fn stoop_trainer_fit(
        trainer: *mut StoopTrainer,
        x: *const f32,
        rows: i64,
        classes: *const i32,
        values: *const f32,
        options_json: *const c_char,
    ) -> c_int;
    fn stoop_trainer_evaluate(
        trainer: *mut StoopTrainer,
        x: *const f32,
        rows: i64,
        classes: *const i32,
        values: *const f32,
        loss: *mut c_double,
        accuracy: *mut c_double,
    ) -> c_int;
    fn stoop_trainer_free(trainer: *mut StoopTrainer);
}

type Result<T> = std::result::Result<T, String>;

fn last_error() -> String {
    unsafe { CStr::from_ptr(stoop_last_error()) }.to_string_lossy().into_owned()
}

fn checked(status: c_int) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(last_error()) }
}

fn text(words: &str) -> CString {
    CString::new(words).expect("no NUL in the text")
}

/// A model that is freed when it goes out of scope.
struct Model(*mut StoopModel);

impl Model {
    fn owned(handle: *mut StoopModel) -> Result<Model> {
        if handle.is_null() { Err(last_error()) } else { Ok(Model(handle)) }
    }
    fn create(config: &str) -> Result<Model> {
        Model::owned(unsafe { stoop_model_create(text(config).as_ptr()) })
    }
    fn load(path: &str) -> Result<Model> {
        Model::owned(unsafe { stoop_model_load(text(path).as_ptr()) })
    }
    fn save(&self, path: &str) -> Result<()> {
        checked(unsafe { stoop_model_save(self.0, text(path).as_ptr()) })
    }
    fn predict(&self, x: &[f32]) -> Result<Vec<f32>> {
        let (inputs, outputs) = unsafe { (stoop_model_input_dim(self.0), stoop_model_output_dim(self.0)) };
        let rows = x.len() / inputs as usize;
        let mut out = vec![0.0; rows * outputs as usize];
        checked(unsafe { stoop_model_predict(self.0, x.as_ptr(), rows as i64, out.as_mut_ptr()) })?;
        Ok(out)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { stoop_model_free(self.0) }
    }
}

/// A trainer that is freed when it goes out of scope; it keeps its model alive.
struct Trainer(*mut StoopTrainer);

impl Trainer {
    fn new(model: &mut Model, config: &str) -> Result<Trainer> {
        let handle = unsafe { stoop_trainer_create(model.0, text(config).as_ptr()) };
        if handle.is_null() { Err(last_error()) } else { Ok(Trainer(handle)) }
    }
    fn fit(&mut self, x: &[f32], classes: &[i32], options: &str) -> Result<()> {
        let rows = classes.len() as i64;
        let options = text(options);
        checked(unsafe { stoop_trainer_fit(self.0, x.as_ptr(), rows, classes.as_ptr(), null(), options.as_ptr()) })
    }
    fn evaluate(&mut self, x: &[f32], classes: &[i32]) -> Result<(f64, f64)> {
        let (mut loss, mut accuracy) = (0.0, 0.0);
        let rows = classes.len() as i64;
        checked(unsafe {
            stoop_trainer_evaluate(self.0, x.as_ptr(), rows, classes.as_ptr(), null(), &mut loss, &mut accuracy)
        })?;
        Ok((loss, accuracy))
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        unsafe { stoop_trainer_free(self.0) }
    }
}

/// Points uniform in the square from -1 to 1, and the ring that each is in.
fn rings(samples: usize) -> (Vec<f32>, Vec<i32>) {
    let mut state: u32 = 1;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / 8388608.0 - 1.0
    };
    let x: Vec<f32> = (0..2 * samples).map(|_| next()).collect();
    let y = x.chunks(2).map(|point| {
        let radius = (point[0] * point[0] + point[1] * point[1]).sqrt();
        (radius > 0.5) as i32 + (radius > 0.9) as i32
    });
    (x.clone(), y.collect())
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or("rings.safetensors".to_string());
    let (x, y) = rings(3000);
    let mut model = Model::create(
        r#"{"input_dim": 2, "layers": [{"type": "dense", "units": 64, "activation": "relu"},
            {"type": "dense", "units": 64, "activation": "relu"}, {"type": "dense", "units": 3}]}"#,
    )?;
    let mut trainer = Trainer::new(&mut model, r#"{"optimizer": {"type": "adam", "learning_rate": 0.003}}"#)?;
    trainer.fit(&x, &y, r#"{"epochs": 20, "batch_size": 64}"#)?;
    let (loss, accuracy) = trainer.evaluate(&x, &y)?;
    println!("loss {loss:.4}, accuracy {accuracy:.3}");
    model.save(&path)?;

    let logits = Model::load(&path)?.predict(&[0.0, 0.0])?;
    let ring = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
    println!("the centre is in ring {ring}");
    if ring == 0 && accuracy > 0.95 { Ok(()) } else { Err("it has not learned".to_string()) }
}
