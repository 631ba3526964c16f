"""A web page that runs an archive's own files on a camera, an image or a video, in the browser alone."""
