"""Looking at what comes in: is each image a frontal chest radiograph that lies and is shown as it should?"""
