"""A synthetic endoscopy set in the official layout: drawn images that show the answers to all questions.

`scene` is the content of an image and answers the questions, `sampling` draws scenes with the statistics of the real
set, `render` turns them into images (`mucosa`, `findings`, `instruments`, `overlay`), and `dataset` writes the files.
"""

from imageclef_vqa.synthetic.dataset import write_synthetic_dataset
from imageclef_vqa.synthetic.render import render_scene
from imageclef_vqa.synthetic.sampling import sample_scene
from imageclef_vqa.synthetic.scene import Scene

__all__ = ["Scene", "render_scene", "sample_scene", "write_synthetic_dataset"]
