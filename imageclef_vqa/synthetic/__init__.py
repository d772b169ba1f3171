"""A synthetic endoscopy set in the official layout: pictures whose 18 answers can be seen in them.

`scene` says what a picture shows and answers the questions, `sampling` invents scenes batch by batch as the real
set's statistics go, `render` draws them (`mucosa`, `findings`, `instruments`, `overlay`), `dataset` writes a set.
"""

from imageclef_vqa.synthetic.dataset import write_synthetic_dataset
from imageclef_vqa.synthetic.render import render_scene
from imageclef_vqa.synthetic.sampling import sample_scene
from imageclef_vqa.synthetic.scene import Scene

__all__ = ["Scene", "render_scene", "sample_scene", "write_synthetic_dataset"]
